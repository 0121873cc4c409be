"""Records of schema 4 are read as those of today, and recognized as the runs that they are."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from training_code.comparison.table import runs_table
from training_code.records.reading import read_record
from training_code.records.record import RECORD
from training_code.records.store import RunStore

SAMPLES = Path(__file__).parent / "schema_4"
LEAK = "has the content of a training image: a leak"


def _content(detector="Padim"):
    return json.loads((SAMPLES / f"{detector}.json").read_text())


def _store(results, content):
    folder = results / "runs" / content["run_id"]
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(content))
    return read_record(folder)


def _noted(results, notes):
    content = _content()
    content["dataset"]["notes"] = notes
    return _store(results, content)


@pytest.mark.parametrize("detector", ["Padim", "Cflow", "Dsr", "Draem"])
def test_what_a_record_of_schema_4_says_is_kept(tmp_path, detector):
    content = _content(detector)
    record = _store(tmp_path, content)
    assert record.run_id == content["run_id"] and record.metrics == content["metrics"]
    assert record.identity.protocol.image_size == tuple(content["identity"]["image_size"])
    assert record.compute["eval_batch_size"] == content["identity"]["eval_batch_size"]
    assert record.checkpoint.sha256 == content["checkpoint"]["sha256"]
    row = runs_table([(tmp_path, record)]).iloc[0]
    assert row["normalization"] == content["identity"]["normalization"]["mode"]
    assert row["train_batch_size"] == content["identity"]["train_batch_size"]


def test_what_decided_nothing_is_no_longer_part_of_the_identity(tmp_path):
    ids = {_store(tmp_path / "as it was", _content("Draem")).identity.run_id}
    changes = (
        {"channels_last": True},
        {"backbone_precision": "bfloat16"},
        {"backbone_runtime": "torch"},
        {"eval_batch_size": 7},
    )
    for number, change in enumerate(changes):
        content = _content("Draem")
        content["identity"] |= change
        ids.add(_store(tmp_path / str(number), content).identity.run_id)
    assert len(ids) == 1


def test_the_batch_size_of_training_in_epochs_is_part_of_the_identity_and_of_one_pass_it_is_not(tmp_path):
    for detector, expected in (("Padim", 1), ("Cflow", 2)):
        ids = set()
        for size in (16, 32):
            content = _content(detector)
            content["identity"]["train_batch_size"] = size
            ids.add(_store(tmp_path / f"{detector}-{size}", content).identity.run_id)
        assert len(ids) == expected, detector


@pytest.mark.parametrize(
    ("gpu", "precision", "runtime"),
    [(None, "float32", "openvino"), ("a GPU", "float32", "torch"), (None, "float16", "torch")],
)
def test_the_runtime_is_the_one_that_auto_stood_for(tmp_path, gpu, precision, runtime):
    content = _content()
    content["environment"]["gpu"] = gpu
    content["identity"]["backbone_precision"] = precision
    record = _store(tmp_path, content)
    assert record.identity.compute["backbone_runtime"] == runtime and record.compute["backbone_runtime"] == "auto"


def test_a_run_of_schema_4_is_found_by_the_name_that_it_has_today(tmp_path):
    record = _store(tmp_path, _content())
    today = record.identity.run_id
    assert today != record.run_id
    store = RunStore(tmp_path)
    assert store.stored(today) == record and store.find(today) == store.folder(record.run_id)
    assert store.stored("padim-efficientnet_lite0-0000000000") is None


@pytest.mark.parametrize("part", ["identity", "dataset", "weights"])
@pytest.mark.parametrize("value", [7, [], {"file": 7}, "text"])
def test_a_damaged_record_of_schema_4_is_named(tmp_path, part, value):
    with pytest.raises(ValueError, match="is damaged"):
        _store(tmp_path, _content() | {part: value})


@pytest.mark.parametrize(
    "note",
    [
        f"test/good/copy.png {LEAK} (train/good/003.png)",
        f"test/good/copy.png {LEAK} (train/good/003.png) (and 11 others)",
        f"test/media leak/a (1).png {LEAK} (train/good/b (2).png)",
    ],
)
def test_the_leak_in_an_older_record_is_still_marked(tmp_path, note):
    record = _noted(tmp_path, ["train/good/a.png has transparency: dropped", note])
    assert runs_table([(tmp_path, record)])["leak"].tolist() == [note]


@pytest.mark.parametrize(
    "note",
    [
        "ground_truth/media leak/000_mask.png is an empty mask: its image counts as abnormal, its pixels as good",
        "test/a leak/000.png has the content of another image (test/a leak/001.png)",
        "test/a leak/000.png has the content of another image (test/a leak/001.png) (and 2 others)",
        f"test/{LEAK}/000.png has transparency: dropped",
    ],
)
def test_other_notes_in_an_older_record_mark_no_leak_and_are_kept(tmp_path, note):
    record = _noted(tmp_path, [note])
    assert pd.isna(runs_table([(tmp_path, record)])["leak"][0])
    assert [kept.message for kept in record.dataset.notes] == [note]


def test_where_a_kind_is_known_it_decides_and_not_the_wording(tmp_path):
    record = _noted(tmp_path, [{"kind": "name", "message": f"x {LEAK} (y)"}, {"kind": "leak", "message": "told anew"}])
    assert runs_table([(tmp_path, record)])["leak"].tolist() == ["told anew"]


@pytest.mark.parametrize("version", [4, 5])
def test_thresholds_of_older_records_have_the_rule_of_then_which_promised_nothing(tmp_path, version):
    content = _content()
    if version == 5:
        content = _of_schema_5(tmp_path / "4", content)
    record = _store(tmp_path / "now", content)
    assert record.rule == "synthetic" and record.thresholds == content["thresholds"]
    assert record.operating_points["image"].threshold == content["thresholds"]["image"]
    assert record.operating_points["image"].sentence == "nothing is promised"
    assert record.at.metrics["image_F1Score"] == content["metrics"]["image_F1Score"]
    assert record.calibration is None


def _of_schema_5(results, content):
    """Return a record as schema 5 had it, which knew no rules."""
    of_5 = dataclasses.asdict(_store(results, content))
    for name in ("at", "rules", "calibration"):
        del of_5[name]
    for name in ("threshold", "alpha", "area"):
        del of_5["identity"]["protocol"][name]
    return json.loads(json.dumps(of_5 | {"schema_version": 5}))

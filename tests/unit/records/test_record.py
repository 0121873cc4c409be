import dataclasses
import json

import pytest
from helpers.records import IDENTITY, make_identity, make_record

from training_code.detectors.arguments import Argument
from training_code.detectors.registry import DETECTORS
from training_code.records.identity import SCHEMA_VERSION
from training_code.records.reading import read_record, read_records, write_record
from training_code.records.record import RECORD


def test_run_id_is_readable_and_stable():
    assert IDENTITY.run_id.startswith("padim-resnet18-")
    assert dataclasses.replace(IDENTITY).run_id == IDENTITY.run_id
    reordered = dict(reversed(IDENTITY.arguments.items()))
    assert dataclasses.replace(IDENTITY, arguments=reordered).run_id == IDENTITY.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"image_size": (64, 32)},
        {"arguments": IDENTITY.arguments | {"n_features": 11}},
        {"dataset_fingerprint": "e" * 64},
        {"weights_sha256": "b" * 64},
        {"normalization": "imagenet"},
        {"mean": (0.4,) * 3},
        {"validation_split": 0.2},
        {"resize": "letterbox"},
        {"center_crop": (32, 48)},
        {"weights_sha256": None},
        {"backbone_precision": "bfloat16"},
        {"channels_last": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_about_the_numbers_makes_another_run(change):
    assert make_identity(**change).run_id != IDENTITY.run_id


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = make_record(intervals={"image_AUROC": (0.7, 0.8)}, error=None, training={"epochs": 3, "mood": "good"})
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_not_a_number_is_refused_and_the_old_record_stays(tmp_path):
    write_record(tmp_path, make_record())
    with pytest.raises(ValueError):
        write_record(tmp_path, make_record(metrics={"image_AUROC": float("nan")}))
    assert read_record(tmp_path).metrics == {"image_AUROC": 0.75}
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_a_folder_without_record_is_unfinished(tmp_path):
    assert read_record(tmp_path) is None


def test_a_record_that_was_written_again_is_read_again(tmp_path):
    for value in (0.5, 0.6):
        write_record(tmp_path, make_record(metrics={"image_AUROC": value}))
        assert read_record(tmp_path).metrics == {"image_AUROC": value}


def _content():
    return json.loads(json.dumps(dataclasses.asdict(make_record())))


def _changed(**changes):
    return json.dumps(_content() | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"run_id": "x", "sta', "is damaged"),
        ("", "is damaged"),
        ("[1, 2]", "schema version None; known: 4, 5, 6"),
        ('{"schema_version": 99}', "schema version 99; known: 4, 5, 6"),
        ('{"schema_version": [4]}', r"schema version \[4\]; known: 4, 5, 6"),
        (f'{{"schema_version": {SCHEMA_VERSION}, "run_id": "x"}}', "is damaged: status: Field required; .* others"),
        ("\xff", "is damaged"),
        (_changed(metrics={"image_AUROC": "high"}), "is damaged: metrics.image_AUROC: .* valid number"),
        (_changed(metrics={"image_AUROC": True}), "is damaged: metrics.image_AUROC: .* valid number"),
        (_changed(metrics=None), "is damaged: metrics: .* object"),
        (_changed(status="done"), "is damaged: status: .*'ok', 'failed'"),
        (_changed(identity={"detector": "Padim"}), "is damaged: identity.arguments: Field required"),
        (
            _changed(identity=_content()["identity"] | {"protocol": {"image_size": [1, 2]}}),
            "image_size=1 is out of range",
        ),
        (_changed(dataset=_content()["dataset"] | {"notes": [7]}), "is damaged: dataset.notes.0: "),
        (_changed(dataset=_content()["dataset"] | {"notes": None}), "is damaged: dataset.notes: "),
        (_changed(dataset={"name": "d"}), "is damaged: dataset.folder: Field required"),
        (_changed(finished="yesterday"), "is damaged: finished: .*yesterday"),
        (_changed(error=None)[:-1] + ', "training": ' + "[" * 100_000 + "]" * 100_000 + "}", "is damaged: recursion"),
    ],
    ids=lambda text: text[:40],
)
def test_damaged_and_foreign_records_are_reported_and_the_others_read(tmp_path, text, words):
    good, bad = tmp_path / "runs" / "good", tmp_path / "runs" / "bad"
    for folder in (good, bad, tmp_path / "runs" / "unfinished"):
        folder.mkdir(parents=True)
    write_record(good, make_record())
    (bad / RECORD).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=words):
        read_record(bad)
    runs, problems = read_records(tmp_path)
    assert [folder.name for folder, _ in runs] == ["good"]
    assert len(problems) == 2 and "bad" in problems[0]
    assert "unfinished has no run.json" in problems[1]


def test_fields_of_a_later_version_are_ignored(tmp_path):
    (tmp_path / RECORD).write_text(_changed(mood="good"))
    assert read_record(tmp_path).run_id == "padim-resnet18-0123456789"


def test_of_several_folders_with_one_run_of_one_code_the_newest_that_ended_well_is_shown_and_the_others_are_named(
    tmp_path,
):
    (tmp_path / "runs" / "other").mkdir(parents=True)
    write_record(tmp_path / "runs" / "other", make_record("other", code_sha256="c"))
    moments = {"old": "2026-01-01T00:00:00+00:00", "new": "2026-01-02T00:00:00+02:00", "failed": "2026-01-03T00:00:00"}
    for name, finished in moments.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        write_record(folder, make_record(name, finished=finished, status="failed" if name == "failed" else "ok"))
    runs, problems = read_records(tmp_path)
    assert {record.run_id for _, record in runs} == {"new", "other"}
    assert sorted(text.split(" is the same run as ")[0].split("/")[-1] for text in problems) == ["failed", "old"]


def test_an_argument_that_came_later_makes_no_other_run_of_those_that_there_were(monkeypatch):
    spec = DETECTORS[IDENTITY.detector]
    later = Argument(str, "auto", before="exact")
    monkeypatch.setitem(DETECTORS, spec.name, dataclasses.replace(spec, arguments={**spec.arguments, "way": later}))
    old = dataclasses.replace(IDENTITY)
    assert old.run_id == IDENTITY.run_id and old.arguments == IDENTITY.arguments | {"way": "exact"}
    assert dataclasses.replace(IDENTITY, arguments=IDENTITY.arguments | {"way": "exact"}).run_id == IDENTITY.run_id
    assert dataclasses.replace(IDENTITY, arguments=IDENTITY.arguments | {"way": "fast"}).run_id != IDENTITY.run_id

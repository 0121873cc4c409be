import dataclasses
import json

import pytest
from helpers.records import IDENTITY, make_record

from training_code.records.record import RECORD, SCHEMA_VERSION, read_record, read_records, write_record


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
        {"normalization": {"mode": "imagenet", "mean": (0.4,) * 3, "std": (0.5,) * 3}},
        {"validation_split": 0.2},
        {"weights_sha256": None},
        {"backbone_precision": "bfloat16"},
        {"channels_last": True},
        {"schema_version": SCHEMA_VERSION + 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_about_the_numbers_makes_another_run(change):
    assert dataclasses.replace(IDENTITY, **change).run_id != IDENTITY.run_id


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = make_record(intervals={"image_AUROC": [0.7, 0.8]}, error=None)
    write_record(tmp_path, record)
    read = read_record(tmp_path)
    assert json.dumps(dataclasses.asdict(read)) == json.dumps(dataclasses.asdict(record))
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_not_a_number_is_refused_and_the_old_record_stays(tmp_path):
    write_record(tmp_path, make_record())
    with pytest.raises(ValueError):
        write_record(tmp_path, make_record(metrics={"image_AUROC": float("nan")}))
    assert read_record(tmp_path).metrics == {"image_AUROC": 0.75}
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_a_folder_without_record_is_unfinished(tmp_path):
    assert read_record(tmp_path) is None


def _changed(**changes):
    return json.dumps(dataclasses.asdict(make_record()) | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"run_id": "x", "sta', "is damaged"),
        ("", "is damaged"),
        ("[1, 2]", "schema version None, expected"),
        ('{"schema_version": 99}', "schema version 99, expected"),
        (f'{{"schema_version": {SCHEMA_VERSION}, "run_id": "x"}}', "is damaged: .*status"),
        ("\xff", "is damaged"),
        (_changed(metrics={"image_AUROC": "high"}), "is damaged: metrics: image_AUROC is 'high'"),
        (_changed(metrics=None), "is damaged: metrics is None"),
        (_changed(status="done"), "is damaged: status 'done' is none of ok, failed"),
        (_changed(identity={"detector": "Padim"}), "is damaged: arguments, .* missing in identity"),
        (_changed(dataset=make_record().dataset | {"notes": [7]}), r"is damaged: dataset: notes is \[7\]"),
        (_changed(dataset=make_record().dataset | {"notes": None}), "is damaged: dataset: notes is None"),
        (_changed(dataset={"name": "d"}), "is damaged: counts, fingerprint, folder missing in dataset"),
    ],
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


def test_fields_of_a_later_version_are_passed_over(tmp_path):
    content = dataclasses.asdict(make_record()) | {"mood": "good"}
    (tmp_path / RECORD).write_text(json.dumps(content))
    assert read_record(tmp_path).run_id == "padim-resnet18-0123456789"

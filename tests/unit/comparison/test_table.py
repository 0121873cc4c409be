import dataclasses
from pathlib import Path

import pandas as pd
from helpers.calibrated import make_calibrated
from helpers.data import make_mvtec
from helpers.records import IDENTITY, make_dataset, make_record
from PIL import Image

from training_code.comparison.table import runs_table
from training_code.data.dataset import read_dataset
from training_code.records.record import Note


def _table(*records):
    return runs_table((Path("results/runs") / record.run_id, record) for record in records)


def test_columns_are_the_union_of_all_arguments_and_numbers_are_numbers():
    arguments = {"backbone": "resnet50", "layers": ["layer2", "layer3"], "num_neighbors": 3}
    patchcore = dataclasses.replace(IDENTITY, detector="Patchcore", arguments=arguments)
    table = _table(make_record("a"), make_record("b", patchcore))
    assert list(table["run_id"]) == ["a", "b"]
    assert table["n_features"].tolist() == [10, None], "whole numbers stay whole beside missing ones"
    assert table["num_neighbors"].tolist() == [None, 3]
    assert "arguments" not in table and not table.map(lambda cell: isinstance(cell, dict | list)).any(axis=None)
    assert table["image_height"].tolist() == [64, 64] and table["eval_batch_size"].tolist() == [32, 32]
    assert table["layers"].tolist() == ["layer1", "layer2, layer3"]
    assert table["image_AUROC"].dtype == float and table["fit_s"].dtype == float
    assert table["test_images_per_s"].tolist() == [4.0, 4.0]


def test_metrics_by_defect_type_have_columns_of_their_own():
    record = make_record(by_defect_type={"hole": {"images": 3, "image_AUROC": 0.6}})
    assert _table(record)[["images hole", "image_AUROC hole"]].values.tolist() == [[3, 0.6]]


def test_a_metric_that_was_not_computed_is_missing_and_never_0():
    table = _table(make_record("a", metrics={"image_AUROC": 0.5, "pixel_AUROC": 0.9}), make_record("b", metrics={}))
    assert table["pixel_AUROC"].isna().tolist() == [False, True]
    assert table["image_AUROC"].isna().tolist() == [False, True]


def test_runs_of_one_configuration_share_a_key_whatever_their_seed_and_data():
    other = dataclasses.replace(IDENTITY, seed=7, dataset_fingerprint="g" * 64)
    finer = dataclasses.replace(IDENTITY, arguments=IDENTITY.arguments | {"n_features": 20})
    keys = _table(make_record("a"), make_record("b", other), make_record("c", finer))["configuration_key"].tolist()
    assert keys[0] == keys[1] != keys[2]


def test_a_leak_in_the_data_is_flagged(tmp_path):
    root = make_mvtec(tmp_path / "leaky")
    with Image.open(root / "train" / "good" / "000.png") as image:
        image.save(root / "test" / "good" / "again.png")
    table = _table(_record_of(root, "a"), make_record("b"))
    assert "again.png" in table["leak"][0] and pd.isna(table["leak"][1])


def test_a_defect_type_called_leak_is_no_leak_in_the_data(tmp_path):
    root = make_mvtec(tmp_path / "media")
    for parent in ("test", "ground_truth"):
        (root / parent / "square").rename(root / parent / "media leak")
    (root / "test" / "media leak" / "with a leak.txt").write_text("no image")
    mask = root / "ground_truth" / "media leak" / "000_mask.png"
    Image.new("L", (48, 48)).save(mask)
    record = _record_of(root, "a")
    assert sum("a leak" in note.message for note in record.dataset.notes) == 2, "both are told"
    assert pd.isna(_table(record)["leak"][0])


def _record_of(root, run_id):
    """Return the record of a run on the dataset in a folder, with its notes."""
    notes = tuple(Note(note.kind, note.message) for note in read_dataset(root).notes)
    return make_record(run_id, dataset=make_dataset(notes=notes))


def test_without_runs_the_table_is_empty_but_there():
    assert runs_table([]).empty


def test_what_a_threshold_promises_stands_beside_it_as_a_number_and_in_words(tmp_path):
    few, many = make_calibrated(tmp_path, good=18, alpha=0.01), make_calibrated(tmp_path, good=199, number=1)
    other = make_calibrated(tmp_path, number=2, threshold="mean_sd")
    table = _table(few, many, other, make_record("old")).set_index("run_id")
    promises = table["image_promise"]
    assert promises[few.run_id] == 1 / 19 and promises[many.run_id] == 0.05
    assert promises[[other.run_id, "old"]].isna().all(), "these promise nothing"
    said = table["image_promise_sentence"]
    assert said[few.run_id].startswith("18 good images allow no promise below 5.3 %")
    assert said[other.run_id] == "nothing is promised" and pd.isna(said["old"]), "it has no threshold at all"
    assert table.loc[many.run_id, ["least_promise", "calibration_images"]].tolist() == [0.005, 199]

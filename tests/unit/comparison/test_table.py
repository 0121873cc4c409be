import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from helpers.records import IDENTITY, make_record

from training_code.comparison.figures import draw_main_metrics
from training_code.comparison.table import MAIN_METRICS, best_models, runs_table
from training_code.errors import InputError

PATCHCORE = dataclasses.replace(
    IDENTITY,
    detector="Patchcore",
    arguments={"backbone": "resnet50", "layers": ["layer2", "layer3"], "num_neighbors": 3},
)


def _table(*records):
    return runs_table((Path("results/runs") / record.run_id, record) for record in records)


def test_columns_are_the_union_of_all_arguments_and_numbers_are_numbers():
    table = _table(make_record("a"), make_record("b", PATCHCORE))
    assert list(table["run_id"]) == ["a", "b"]
    assert table["n_features"].tolist()[0] == 10 and pd.isna(table["n_features"][1])
    assert table["num_neighbors"].tolist()[1] == 3 and pd.isna(table["num_neighbors"][0])
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


def test_the_best_of_each_detector_is_chosen_from_good_runs_on_pretrained_weights():
    random = {"file": "", "sha256": "r", "source": "random", "pretrained": False}
    table = _table(
        make_record("good", metrics={"image_AUROC": 0.8, "pixel_AUROC": 0.6}),
        make_record("worse", metrics={"image_AUROC": 0.7, "pixel_AUROC": 0.9}),
        make_record("random", metrics={"image_AUROC": 0.99}, weights=random),
        make_record("failed", status="failed", metrics={}, error="x"),
        make_record("other", PATCHCORE, metrics={"image_AUROC": 0.6, "pixel_AUROC": 0.5}),
    )
    best = best_models(table)
    assert best[["Model", "run_id"]].values.tolist() == [["Padim", "good"], ["Patchcore", "other"]]
    assert list(best.columns[:5]) == ["Model", *MAIN_METRICS]
    assert best_models(table, "pixel_AUROC")["run_id"].tolist() == ["worse", "other"]


def test_of_level_runs_the_faster_one_is_the_best():
    slow, fast = ({"fit": 1.0, "test": 1.0, "latency": seconds} for seconds in (0.5, 0.1))
    assert best_models(_table(make_record("a", times=slow), make_record("b", times=fast)))["run_id"].tolist() == ["b"]


def test_a_dataset_that_has_changed_is_not_ranked_with_what_it_was():
    changed = make_record().dataset | {"fingerprint": "g"}
    table = _table(make_record("a"), make_record("b", dataset=changed, metrics={"image_AUROC": 0.9}))
    assert best_models(table)["run_id"].tolist() == ["a", "b"]


def test_an_unknown_criterion_is_refused_with_the_valid_ones():
    with pytest.raises(InputError, match="unknown criterion 'AUROC'.*image_AUROC"):
        best_models(_table(make_record()), "AUROC")


def test_without_runs_or_metrics_tables_and_pictures_are_empty_but_there():
    assert runs_table([]).empty and best_models(runs_table([])).empty
    failed = _table(make_record(status="failed", metrics={}, times={}, error="x"))
    assert best_models(failed).empty
    draw_main_metrics(failed)
    draw_main_metrics(runs_table([]))

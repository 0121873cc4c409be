"""Values of arguments of any type, and every table, picture and export of runs that differ in what they have."""

import dataclasses
import io
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.results import make_run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from training_code.comparison import figures, gallery
from training_code.comparison.costs import speed_and_size
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.export import FORMATS, export
from training_code.comparison.ranks import over_datasets, over_datasets_sentence
from training_code.comparison.sheets import all_sheets, by_defect_type, compare, summary
from training_code.comparison.table import runs_table
from training_code.comparison.values import MISSING, differing, key, labels, order, square_table
from training_code.comparison.workbook import write_workbook
from training_code.records.record import read_records

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-2, 2).map(lambda number: round(number, 1)),
    st.sampled_from(["a", "b", "none", "True", "1"]),
    st.lists(st.sampled_from(["layer1", "layer2"]), max_size=2),
)


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_equal_values_alone_are_counted_as_one_and_all_can_be_sorted(values):
    values = [", ".join(value) if isinstance(value, list) else value for value in values]
    column = pd.Series(values, dtype=object)
    different = [
        value
        for number, value in enumerate(values)
        if not any(
            type(value) is type(other) and value == other or _equal_numbers(value, other) for other in values[:number]
        )
    ]
    assert differing(column) == len(different)
    assert len({key(value) for value in different}) == len(different) == len({repr(name) for name in labels(different)})
    kinds = [order(value)[0] for value in sorted(values, key=order)]
    assert kinds == sorted(kinds)


def _equal_numbers(one, other):
    return (
        all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)) and one == other
    )


def test_a_square_has_the_means_of_all_values_missing_ones_too():
    rows = pd.Series(["x", "x", "y", "y"])
    columns = pd.Series([None, True, np.nan, True], dtype=object, name="backbone")
    square = square_table(rows, columns, pd.Series([1.0, 2.0, 3.0, np.nan]))
    assert list(square.columns) == [MISSING, "True"] and square.columns.name == "backbone"
    assert square.loc["x"].tolist() == [1.0, 2.0] and square.loc["y", MISSING] == 3.0
    assert np.isnan(square.loc["y", "True"])


def test_a_backbone_and_none_are_two_values_of_an_argument(tmp_path):
    """The demonstration runs DSR with and without a backbone: that ended the comparison in an error."""
    for number, (backbone, width) in enumerate(itertools.product([None, "efficientnet_lite0"], [0.125, 0.25])):
        arguments = {"backbone": backbone, "layers": backbone and ["a", "b"], "width": width}
        value = 0.5 + number / 10
        make_run(tmp_path, f"dsr-{number}", "Padim", arguments=arguments, metrics={"image_AUROC": value})
    effects = effects_of_arguments(_table(tmp_path), "image_AUROC").set_index(["argument", "value"])
    assert effects.loc[("backbone", "efficientnet_lite0"), "reference"] == MISSING
    assert effects.loc[("backbone", "efficientnet_lite0"), "difference"] == pytest.approx(0.2)
    assert effects.loc[("width", 0.25), ["pairs", "difference"]].tolist() == pytest.approx([2, 0.1])


def test_booleans_are_values_of_an_argument_and_no_choice_of_rows(tmp_path):
    for number, value in enumerate([False, True, None]):
        make_run(
            tmp_path,
            f"r-{number}",
            arguments={"backbone": "b", "soft": value},
            metrics={"image_AUROC": 0.5 + number / 10},
        )
    effects = effects_of_arguments(_table(tmp_path), "image_AUROC").set_index("value")
    assert set(effects["argument"]) == {"soft"} and set(effects["reference"]) == {MISSING}
    assert effects.loc["True", "difference"] == pytest.approx(-0.1)
    assert effects.loc["False", "difference"] == pytest.approx(-0.2)


def test_runs_that_differ_in_the_format_of_memory_too_are_no_pair(tmp_path):
    make_run(tmp_path, "one", arguments={"backbone": "b", "n_features": 10})
    make_run(tmp_path, "two", arguments={"backbone": "b", "n_features": 20}, identity={"channels_last": True})
    assert effects_of_arguments(_table(tmp_path), "image_AUROC").empty


RUNS = st.fixed_dictionaries(
    {
        "detector": st.sampled_from(["Padim", "Patchcore", "Cflow"]),
        "arguments": st.dictionaries(st.sampled_from(["backbone", "layers", "one", "two"]), VALUES),
        "seed": st.integers(0, 1),
        "dataset": st.sampled_from(["d", "e", "f"]),
        "status": st.sampled_from(["ok", "ok", "ok", "failed", "out_of_memory"]),
        "has": st.sampled_from(["everything", "no masks", "no abnormal images", "no thresholds"]),
        "equal": st.booleans(),
    }
)
LIKE_THE_DEMONSTRATION = [
    {"detector": "Cflow", "arguments": {"backbone": backbone, "one": one}, "seed": 0, "dataset": "d", "status": "ok"}
    | {"has": "everything", "equal": False}
    for backbone in (None, "efficientnet_lite0")
    for one in (0.5, None)
]
ALONE = LIKE_THE_DEMONSTRATION[:1]
ALL_FAILED = [run | {"status": "failed"} for run in LIKE_THE_DEMONSTRATION]
NOTHING_TO_MEASURE = [run | {"has": "no abnormal images"} for run in LIKE_THE_DEMONSTRATION]
NO_MASKS = [run | {"has": "no masks"} for run in LIKE_THE_DEMONSTRATION]
EQUAL = [run | {"equal": True, "seed": seed} for run in LIKE_THE_DEMONSTRATION for seed in (0, 1)]
DATASETS = [
    {"detector": detector, "arguments": {"backbone": "b"}, "seed": 0, "dataset": dataset, "status": "ok"}
    | {"has": "everything", "equal": False}
    for detector in ("Padim", "Patchcore", "Cflow")
    for dataset in ("d", "e", "f")
]
CASES = (LIKE_THE_DEMONSTRATION, ALONE, ALL_FAILED, NOTHING_TO_MEASURE, NO_MASKS, EQUAL, DATASETS, [])
SETTINGS = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)


@example(CASES[0])
@example(CASES[1])
@example(CASES[2])
@example(CASES[3])
@example(CASES[4])
@example(CASES[5])
@example(CASES[6])
@example(CASES[7])
@given(st.lists(RUNS, max_size=6))
@settings(SETTINGS, max_examples=25)
def test_every_sheet_and_export_can_be_made(runs):
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        table = _make(results, runs)
        for criterion in ("image_AUROC", "pixel_F1Score"):
            comparison = compare(table, ["one that could not be read"], criterion)
            sheets = all_sheets(comparison, results)
            assert {"Best models", "All runs", "Hyper-parameters", "Failed", "About"} <= {
                sheet.name for sheet in sheets
            }
            assert len(summary(comparison)) == len(comparison.best)
            assert over_datasets_sentence(comparison.models, criterion)
        for sheet, form in itertools.product(sheets, FORMATS):
            assert isinstance(export(sheets, sheet.name, form), bytes)
        all_runs = next(sheet.table for sheet in sheets if sheet.name == "All runs")
        assert len(all_runs) == len(runs)
        write_workbook(results / "w.xlsx", sheets)
        written = pd.read_excel(results / "w.xlsx", sheet_name=None)
        assert set(written) == {sheet.name for sheet in sheets}
        assert written["All runs"]["run_id"].tolist() == all_runs["run_id"].tolist()


@pytest.mark.parametrize("runs", CASES, ids=range(len(CASES)))
def test_every_picture_can_be_drawn(runs, tmp_path):
    _draw_all(tmp_path, runs)


@given(st.lists(RUNS, min_size=2, max_size=6))
@settings(SETTINGS, max_examples=4)
def test_every_picture_of_any_runs_can_be_drawn(runs):
    with tempfile.TemporaryDirectory() as folder:
        _draw_all(Path(folder), runs)


def _draw_all(results, runs):
    table, criterion = _make(results, runs), "image_AUROC"
    comparison = compare(table, [], criterion)
    best, models = comparison.best, comparison.models
    scores, _ = gallery.load_scores(best)
    every, _ = gallery.load_scores(models)
    thresholds = table.set_index("run_id")["image_threshold"].dropna().to_dict() if "image_threshold" in table else {}
    drawn = [
        figures.draw_main_metrics(table),
        figures.draw_hyper_parameters(table, criterion),
        figures.draw_curves(best, scores),
        figures.draw_scores(best, scores, thresholds),
        figures.draw_front(speed_and_size(models, criterion), criterion),
        figures.draw_defect_types(by_defect_type(table, best).table),
        figures.draw_agreement(best, scores),
        gallery.draw_gallery(gallery.missed_by_all(models, every), "none"),
        gallery.draw_gallery(gallery.disagreements(best, scores), "none"),
    ]
    try:
        drawn.append(figures.draw_critical_difference(over_datasets(models, criterion)))
    except ValueError as error:
        assert "need" in str(error) or "no models" in str(error)
    for figure in drawn:
        figure.savefig(io.BytesIO(), format="png", dpi=20)


def _table(results):
    return runs_table(read_records(results)[0])


def _make(results, runs):
    """Write runs that have what their descriptions say; return their table."""
    for number, run in enumerate(runs):
        changes = {"status": run["status"], "arguments": run["arguments"]}
        if run["status"] != "ok":
            changes |= {name: {} for name in ("metrics", "intervals", "by_defect_type", "times")}
            changes |= {"error": "it failed"}
        elif run["has"] == "no abnormal images":
            changes |= {"metrics": {}, "intervals": {}, "by_defect_type": {}}
        elif run["has"] == "no masks":
            changes |= {"metrics": {"image_AUROC": 0.7, "image_F1Score": 0.6}, "by_defect_type": {}}
        elif run["has"] == "no thresholds":
            changes |= {
                "metrics": {"image_AUROC": 0.7, "pixel_AUROC": 0.6},
                "thresholds": {"image": None, "pixel": None},
            }
        elif run["equal"]:
            changes |= {
                "metrics": {"image_AUROC": 0.75, "image_F1Score": 0.5, "pixel_AUROC": 0.5, "pixel_F1Score": 0.1}
            }
        thresholds = changes.pop("thresholds", None)
        record = make_run(results, f"run-{number}", run["detector"], run["seed"], 1.0, run["dataset"], **changes)
        if thresholds is not None:
            from training_code.records.record import write_record

            write_record(results / "runs" / record.run_id, dataclasses.replace(record, thresholds=thresholds))
    return _table(results)

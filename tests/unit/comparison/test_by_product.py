"""What separation buys is paired by configuration, conditions, code and seed, and nothing else."""

import dataclasses

import numpy as np
import openpyxl
import pytest
from helpers.pictures import draw
from helpers.records import make_dataset
from helpers.results import make_results, make_run
from scipy import stats

from training_code.comparison.by_product import ALL_CONFIGURATIONS, by_product
from training_code.comparison.configurations import configurations
from training_code.comparison.product_columns import MEAN
from training_code.comparison.ranks import over_datasets
from training_code.comparison.table import runs_table
from training_code.records.reading import read_records, write_record
from training_code.records.record import ProductUsed
from training_code.reporting.product_figures import draw_products
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook

#: AUROC and misses of one detector for both products, and of one for each, by seed.
TOGETHER = {0: {"a": (0.80, 0.30), "b": (0.70, 0.20)}, 1: {"a": (0.84, 0.28), "b": (0.66, 0.24)}}
ALONE = {0: {"a": (0.90, 0.10), "b": (0.68, 0.20)}, 1: {"a": (0.88, 0.20), "b": (0.70, 0.22)}}


def _metrics(values):
    return {"image_AUROC": values[0], "image_MissRate": values[1]}


def _joined(results, seed, values=None, number=0, **changes):
    values = values or TOGETHER[seed]
    rows = {name: {"images": 10, "good_images": 4, **_metrics(each)} for name, each in values.items()}
    changes = {"metrics": {"image_AUROC": 0.75}, **changes}
    record = make_run(results, f"both-{number}-{seed}", seed=seed, dataset="a+b", by_product=rows, **changes)
    products = tuple(ProductUsed(name, f"data/{name}", f"fingerprint of {name}", {}) for name in ("a", "b"))
    dataset = make_dataset("a+b", folder="data/a+data/b", products=products)
    write_record(results / "runs" / record.run_id, dataclasses.replace(record, dataset=dataset))


def _alone(results, seed, name, values=None, number=0, **changes):
    metrics = _metrics(values or ALONE[seed][name])
    make_run(results, f"{name}-{number}-{seed}", seed=seed, dataset=name, **{"metrics": metrics, **changes})


def _table(results):
    runs = runs_table(read_records(results)[0])
    return by_product(runs, configurations(runs)).set_index(["Model", "product", "metric"])


@pytest.fixture
def results(tmp_path):
    for seed in (0, 1):
        _joined(tmp_path, seed)
        for name in ("a", "b"):
            _alone(tmp_path, seed, name)
    return tmp_path


def test_the_difference_is_paired_by_seed_with_students_interval(results):
    found = _table(results).loc["Padim"]
    row = found.loc["a", "image_AUROC"]
    gains = np.array([0.10, 0.04])
    assert (row["one_for_all"], row["one_for_each"]) == (pytest.approx(0.82), pytest.approx(0.89))
    assert row["separation_gains"] == pytest.approx(gains.mean()) and row["paired"] == 2 and row["test_images"] == 10
    low, high = stats.t.interval(0.95, 1, gains.mean(), stats.sem(gains))
    assert row["separation_gains_95"] == pytest.approx((high - low) / 2)
    assert found.loc[("b", "image_AUROC"), "separation_gains"] == pytest.approx(0.01)
    mean = found.loc[MEAN, "image_AUROC"]
    assert mean["one_for_all"] == pytest.approx(0.75) and mean["separation_gains"] == pytest.approx((0.07 + 0.01) / 2)


def test_fewer_misses_are_a_gain(results):
    found = _table(results).loc["Padim"]
    assert found.loc[("a", "image_MissRate"), "separation_gains"] == pytest.approx((0.20 + 0.08) / 2)


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "other images"},
        {"code_sha256": "d" * 64},
        {"arguments": {"backbone": "resnet18", "layers": ["layer1"], "n_features": 7}},
        {"identity": {"validation_split": 0.3}},
        {"seed": 5},
        {"status": "failed"},
    ],
    ids=["images", "code", "arguments", "protocol", "seed", "status"],
)
def test_runs_that_differ_in_anything_else_are_not_paired(tmp_path, other):
    _joined(tmp_path, 0)
    make_run(tmp_path, "a-alone", **{"seed": 0, "dataset": "a", "metrics": _metrics((0.9, 0.1)), **other})
    row = _table(tmp_path).loc["Padim", "a", "image_AUROC"]
    assert row["one_for_all"] == 0.8 and row["paired"] == 0 and np.isnan(row["separation_gains"])


def test_over_configurations_the_difference_is_paired_by_configuration(results):
    arguments = {"arguments": {"backbone": "resnet18", "layers": ["layer1"], "n_features": 7}}
    _joined(results, 0, {"a": (0.5, 0.5), "b": (0.5, 0.5)}, 1, **arguments)
    _alone(results, 0, "a", (0.8, 0.5), 1, **arguments)
    row = _table(results).loc[ALL_CONFIGURATIONS, "a", "image_AUROC"]
    gains = [0.07, 0.3]
    assert row["separation_gains"] == pytest.approx(np.mean(gains)) and row["paired"] == 2
    assert row["separation_gains_95"] == pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(gains))


def test_the_sheet_is_there_where_something_was_trained_on_several_products(results, tmp_path):
    runs, problems = read_records(results)
    sheets = {sheet.name: sheet.table for sheet in all_sheets(compare(runs_table(runs), problems), results)}
    assert len(sheets["By product"]) == 6
    row = sheets["All runs"].set_index("run_id").loc["both-0-0"]
    assert row["products"] == "a, b" and row["image_AUROC of a"] == 0.8 and row["image_AUROC mean of products"] == 0.75
    assert write_workbook(tmp_path / "w.xlsx", all_sheets(compare(runs_table(runs), problems), results)) == []
    heads = {cell.value: cell.comment.text for cell in openpyxl.load_workbook(tmp_path / "w.xlsx")["By product"][1]}
    assert "whichever way the metric is" in heads["separation_gains"] and "Argument" not in "".join(heads.values())

    (tmp_path / "others").mkdir()
    make_results(tmp_path / "others")
    runs, problems = read_records(tmp_path / "others")
    sheets = {sheet.name: sheet.table for sheet in all_sheets(compare(runs_table(runs), problems), tmp_path)}
    assert "By product" not in sheets and not any("product" in name for name in sheets["All runs"])


def test_ranks_over_datasets_do_not_count_the_images_of_joined_ones_twice(tmp_path):
    make_results(tmp_path, ("a", "b", "c"))
    alone = over_datasets(configurations(runs_table(read_records(tmp_path)[0])), "image_AUROC")
    for number, detector in enumerate(("Padim", "Patchcore", "Cflow")):
        values = {"a": (0.1 * number, 0.1), "b": (0.1 * number, 0.1)}
        _joined(tmp_path, 0, values, number, detector=detector, metrics={"image_AUROC": 0.9 - 0.3 * number})
    found = over_datasets(configurations(runs_table(read_records(tmp_path)[0])), "image_AUROC")
    assert found.ranks.equals(alone.ranks) and found.p_value == alone.p_value


def test_the_picture_shows_one_detector_for_all_beside_one_for_each(results):
    runs = runs_table(read_records(results)[0])
    figure = draw(draw_products(by_product(runs, configurations(runs))))
    auroc, misses = figure.axes
    assert (auroc.get_ylabel(), misses.get_ylabel()) == ("image_AUROC", "image_MissRate")
    assert [label.get_text() for label in auroc.get_xticklabels()] == ["a", "b", MEAN]
    for_all, for_each = auroc.lines
    assert for_all.get_ydata().tolist() == pytest.approx([0.82, 0.68, 0.75])
    assert for_each.get_ydata().tolist() == pytest.approx([0.89, 0.69, 0.79])
    assert for_each.get_markerfacecolor() == "none", "hollow"


def test_the_picture_of_products_says_that_there_are_none(tmp_path):
    make_results(tmp_path)
    runs = runs_table(read_records(tmp_path)[0])
    figure = draw(draw_products(by_product(runs, configurations(runs))))
    assert figure.axes[0].get_title() == "no detector was trained on several products"

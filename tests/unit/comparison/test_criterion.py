"""Whatever ranks by a metric knows which way is better, and an F1 that says nothing is marked as such."""

import openpyxl
import pytest
from helpers.results import DETECTORS, make_run

from inference_code.runs import find_run
from training_code.comparison.configurations import best_models, configurations
from training_code.comparison.costs import speed_and_size
from training_code.comparison.ranks import over_datasets
from training_code.comparison.table import runs_table
from training_code.display.run import Run
from training_code.records.reading import read_records
from training_code.reporting.cells import BELOW_FONT, BEST_FILL, HIGH, LOW
from training_code.reporting.sheets import F1_BELOW, all_sheets, compare, summary
from training_code.reporting.workbook import write_workbook
from training_code.sweep.search import read_search

RATE = "image_FalseAlarmRate"
MANY = {"train/good": 9, "test/good": 10, "test/hole": 45}  # calling everything defective has F1 0.9


def _runs(results, values, datasets="d"):
    """Write for each dataset runs of PaDiM, PatchCore and CFlow with these rates; the AUROC orders them otherwise."""
    for dataset in datasets:
        for number, (detector, value) in enumerate(zip(DETECTORS, values, strict=True)):
            metrics = {"image_AUROC": 0.5 + value / 2, RATE: value, "image_F1Score": 0.5 + value}
            intervals = {RATE: (value / 2, value * 2)}
            times = {"fit": 1.0, "test": 1.0, "latency": 0.1 + number}
            changes = {"metrics": metrics, "intervals": intervals, "times": times, "counts": MANY}
            make_run(results, f"{detector}-{dataset}", detector, dataset=dataset, **changes)


def _table(results):
    return runs_table(read_records(results)[0])


def _workbook(results, criterion):
    runs, problems = read_records(results)
    write_workbook(results / "w.xlsx", all_sheets(compare(runs_table(runs), problems, criterion), results))
    return openpyxl.load_workbook(results / "w.xlsx")


def _column(sheet, name):
    return next(cell.column for cell in sheet[1] if cell.value == name)


def test_of_errors_the_smallest_rate_is_the_best(tmp_path):
    _runs(tmp_path, (0.3, 0.1, 0.2))
    table = _table(tmp_path)
    assert configurations(table, RATE)["Model"].tolist() == ["Patchcore", "Cflow", "Padim"]
    assert best_models(table, RATE)[RATE].tolist() == [0.1, 0.2, 0.3]
    assert find_run("best", tmp_path, criterion=RATE).name == "Patchcore-d"
    assert find_run("best", tmp_path, criterion="image_AUROC").name == "Padim-d", "of which more is better"


def test_of_two_configurations_of_a_detector_that_with_fewer_errors_stands_for_it(tmp_path):
    for features, value in ((100, 0.3), (200, 0.1)):
        arguments = DETECTORS["Padim"] | {"n_features": features}
        make_run(tmp_path, f"r{features}", arguments=arguments, metrics={RATE: value})
    assert best_models(_table(tmp_path), RATE)["run_id"].tolist() == ["r200"]
    sheets = {sheet.name: sheet.table for sheet in all_sheets(compare(_table(tmp_path), (), RATE), tmp_path)}
    assert sheets["By backbone"]["ResNet18"].tolist() == [0.1]
    assert sheets["Comparison d"]["run_id"].tolist() == ["r200", "r100"]


def test_no_faster_model_with_more_errors_hides_one_with_fewer(tmp_path):
    _runs(tmp_path, (0.3, 0.1, 0.2))
    front = speed_and_size(configurations(_table(tmp_path), RATE), RATE).set_index("Model")["fastest"]
    assert front.to_dict() == {"Padim": True, "Patchcore": True, "Cflow": False}


def test_ranks_over_datasets_put_the_fewest_errors_first(tmp_path):
    _runs(tmp_path, (0.3, 0.1, 0.2), "abc")
    ranks = over_datasets(configurations(_table(tmp_path), RATE), RATE).ranks
    assert ranks.to_dict() == {"Patchcore": 1, "Cflow": 2, "Padim": 3}


def test_the_workbook_marks_the_fewest_errors_and_colors_them_the_darkest(tmp_path):
    _runs(tmp_path, (0.3, 0.1, 0.2))
    book = _workbook(tmp_path, RATE)
    sheet = book["Best models"]
    cells = [sheet.cell(row, _column(sheet, RATE)) for row in (2, 3, 4)]
    assert [cell.value for cell in cells] == [0.1, 0.2, 0.3]
    assert [cell.fill.fgColor.rgb[-6:] == BEST_FILL.fgColor.rgb[-6:] for cell in cells] == [True, False, False]
    (scale,) = {
        tuple(c.rgb[-6:] for c in r.colorScale.color)
        for f in book["By backbone"].conditional_formatting
        for r in f.rules
    }
    assert scale == (HIGH, LOW)
    assert sheet.cell(2, _column(sheet, f"{RATE}_high")).value == 0.2, "how sure that is"


def test_misses_and_areas_under_curves_of_defect_types_are_colored_apart(tmp_path):
    row = {"images": 7, "image_AUROC": 0.9, "image_MissRate": 0.1, "pixel_AUROC": 0.8}
    make_run(tmp_path, "a", by_defect_type={"hole": row, "scratch": row})
    sheet = _workbook(tmp_path, "image_AUROC")["By defect type"]
    metrics = [cell.value for cell in sheet[_letter(sheet, "metric")]][1:]
    found = {}
    for area in sheet.conditional_formatting:
        (rule,) = area.rules
        rows = {row for part in area.sqref.ranges for row in range(part.min_row, part.max_row + 1)}
        colors = [color.rgb[-6:] for color in rule.colorScale.color]
        found[tuple(sorted({metrics[row - 2] for row in rows}))] = (len(rows), colors)
    assert found == {
        ("image_AUROC",): (2, [LOW, HIGH]),
        ("image_MissRate",): (2, [HIGH, LOW]),
        ("pixel_AUROC",): (2, [LOW, HIGH]),
    }


def _letter(sheet, name):
    return sheet.cell(1, _column(sheet, name)).column_letter


def test_an_f1_below_that_of_calling_everything_defective_is_marked_in_tables_workbook_and_notebook(tmp_path):
    _runs(tmp_path, (0.5, 0.1, 0.3))  # F1 1.0, 0.6 and 0.8
    shown = summary(compare(_table(tmp_path))).set_index("Model")
    assert {model: F1_BELOW in marks for model, marks in shown["marks"].items()} == {
        "Padim": False,
        "Patchcore": True,
        "Cflow": True,
    }
    book = _workbook(tmp_path, "image_AUROC")
    for name, model in (("Best models", "Model"), ("All runs", "detector")):
        sheet = book[name]
        models = [sheet.cell(row, _column(sheet, model)).value for row in (2, 3, 4)]
        cells = [sheet.cell(row, _column(sheet, "image_F1Score")) for row in (2, 3, 4)]
        red = {model for model, cell in zip(models, cells, strict=True) if cell.font.i and cell.font.color}
        assert red == {"Patchcore", "Cflow"}
        assert {cell.font.color.rgb[-6:] for cell in cells if cell.font.i} == {BELOW_FONT.color.rgb[-6:]}
        assert [sheet.cell(row, _column(sheet, "image_F1AllBad")).value for row in (2, 3, 4)] == [0.9] * 3
    pages = {record.detector: Run(folder, record)._repr_html_() for folder, record in read_records(tmp_path)[0]}
    assert all("<th>image_F1AllBad</th>" in page and "<td>0.900</td>" in page for page in pages.values())
    assert ["below image_F1AllBad" in pages[name] for name in DETECTORS] == [False, True, True]


@pytest.mark.parametrize(
    ("objective", "direction"),
    [("image_AUROC", "maximize"), ("image_MissRate", "minimize"), ("latency", "minimize"), ("pixel_AUPRO", "maximize")],
)
def test_a_search_goes_where_its_objective_is_better(tmp_path, objective, direction):
    content = {"space": {"n_features": [10, 20]}, "objective": objective}
    assert read_search(tmp_path / "sweep.yaml", content).directions == (direction,)

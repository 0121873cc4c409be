import dataclasses

import openpyxl
import pytest
from helpers.results import make_results, make_run
from openpyxl.worksheet.formula import ArrayFormula

from training_code.compare import main
from training_code.comparison.decision import CHEAPEST, Assumptions, groups_of, ranking
from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.reporting.decision import FIRST_QUESTION, QUESTIONS, YOURS
from training_code.reporting.decision_text import Entered, answers, entered, in_short, in_words
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workbook of textures and, run later and at two sizes, boards; what it was made from."""
    folder = tmp_path_factory.mktemp("text")
    make_results(folder / "results", datasets=("textures",), seeds=(0,))
    for number, size in enumerate(((64, 64), (128, 128))):
        changes = {"finished": f"2026-02-0{number + 1}T00:00:00+00:00", "identity": {"image_size": size}}
        make_run(folder / "results", f"boards-{size[0]}", skill=3.0, dataset="boards", **changes)
    runs, problems = read_records(folder / "results")
    comparison = compare(runs_table(runs), problems)
    write_workbook(folder / "w.xlsx", all_sheets(comparison, folder / "results"))
    return folder / "w.xlsx", comparison.candidates


def _enter(source, target, **values):
    workbook = openpyxl.load_workbook(source)
    for name, value in values.items():
        workbook["Decision"][f"{YOURS}{FIRST_QUESTION + QUESTIONS.index(name)}"] = value
    workbook.save(target)
    return target


def test_each_dataset_has_a_sentence_with_model_run_cost_and_errors(made):
    workbook, candidates = made
    head, boards, textures = answers(candidates, workbook)
    example = "1% of the parts defective, a false alarm costs 1, a miss 10, 1,000 parts a day"
    assert head == f"the sheet Decision, for the example of a line ({example}):"
    table = ranking(candidates, Assumptions(), groups_of(candidates)[0])
    best = table.iloc[0]
    alarms, misses = 990 * best["image_FalseAlarmRate"], 10 * best["image_MissRate"]
    assert best["run_id"] == "boards-128" and best["cost_a_day"] == pytest.approx(alarms + 10 * misses)
    assert boards.startswith("On boards (128 × 128, ") and "Padim (ResNet18 - 100 features), run boards-128" in boards
    assert f"{best['cost_a_day']:,.2f}" in boards and textures.startswith("On textures: ")


def test_false_alarms_and_misses_are_those_of_a_day(made):
    _, candidates = made
    group = groups_of(candidates)[0]
    line = Assumptions(0.5, 1, 1, 3000)
    best = ranking(candidates, line, group).iloc[0]
    alarms, misses = (1500 * best[rate] for rate in ("image_FalseAlarmRate", "image_MissRate"))
    said = in_short(candidates, line, group)
    assert best["cost_a_day"] < 1500, "cheaper than refusing every part"
    shown = [f"{round(value, 2):g}" if value < 10 else f"{value:,.0f}" for value in (alarms, misses)]
    low, high = (f"{best[name]:,.2f}" for name in ("cost_a_day_low", "cost_a_day_high"))
    one = next(one for one in candidates if one.run_id == "boards-128")
    assert said.endswith(
        f", run boards-128, with its threshold in force, {best['threshold']}: {best['cost_a_day']:,.2f} a day (95% "
        f"interval {low} to {high}; no inspection costs 1,500.00), for {shown[0]} false alarms and {shown[1]} "
        f"misses of 1,500 defective parts, by {one.good} good and {one.defective} defective test images."
    )


def test_where_one_kind_of_error_costs_nothing_no_model_is_better_than_none(made):
    _, candidates = made
    said = in_short(candidates, Assumptions(miss_cost=0), groups_of(candidates)[0])
    assert "no model is better than no inspection, which costs 0.00 a day; the cheapest one costs " in said
    assert said.endswith(", run boards-128.")
    said = in_short(candidates, Assumptions(false_alarm_cost=0), groups_of(candidates)[0])
    assert "no model is better than refusing every part, which costs 0.00 a day" in said


def test_what_cannot_be_chosen_is_told(made):
    workbook, candidates = made
    none = [dataclasses.replace(one, deployed=None) for one in candidates]
    said = "On textures no model can be chosen: see the notes and the yellow cells."
    assert answers(none, workbook)[-1] == said
    assert answers([], workbook) == []


def test_what_is_in_the_yellow_cells_counts(made, tmp_path):
    workbook, candidates = made
    assert entered(workbook) == Entered(Assumptions(), None, ())
    group = groups_of(candidates)[-1 if "boards" in groups_of(candidates)[-1] else 1]
    values = {"defective_share": 0.05, "miss_cost": 77, "least_found": 3, "parts_a_day": -1, "threshold": CHEAPEST}
    file = _enter(workbook, tmp_path / "w.xlsx", group=group, false_alarm_cost="much", **values)
    expected = Entered(Assumptions(0.05, 1, 77, 0, 1, CHEAPEST), group, ())
    assert entered(file) == expected, "as the formulas of the sheet do"
    head, boards, _ = answers(candidates, file)
    assert head.startswith("the sheet Decision, for the yellow cells (5% of the parts defective, ")
    assert "each threshold the best one for these costs" in head and "at least 100% of the defects found" in head
    assert boards.startswith(f"On boards ({group.removeprefix('boards: ')})")


def test_a_formula_in_a_yellow_cell_cannot_be_known_so_that_the_example_counts(made, tmp_path):
    workbook, candidates = made
    file = _enter(workbook, tmp_path / "w.xlsx", miss_cost="=5*20")
    assert entered(file) == Entered(Assumptions(), None, ("miss_cost",))
    (head, *said), (example, *expected) = answers(candidates, file), answers(candidates, workbook)
    assert said == expected
    passed = 'the formula at "Cost of a miss" was passed over, as if the cell were blank'
    assert head == f"{example.removesuffix(':')}; {passed}: only a spreadsheet program calculates it:"


def test_beside_a_formula_the_other_yellow_cells_count(made, tmp_path):
    workbook, candidates = made
    group = next(group for group in groups_of(candidates)[1:] if group.startswith("boards"))
    formula = ArrayFormula("D1", "=SUM(1,2)")  # so current programs save some that people write as any other
    values = {"group": group, "defective_share": 0.05, "miss_cost": "=5*20", "parts_a_day": formula}
    file = _enter(workbook, tmp_path / "w.xlsx", threshold=CHEAPEST, **values)
    line = Assumptions(0.05, threshold=CHEAPEST)
    assert entered(file) == Entered(line, group, ("miss_cost", "parts_a_day"))
    head, boards, textures = answers(candidates, file)
    assert head.startswith(f"the sheet Decision, for the yellow cells ({in_words(line)}); ")
    assert 'at "Cost of a miss" was' in head and 'at "Parts a day" was' in head and head.count("passed over") == 2
    assert boards == in_short(candidates, line, group) and boards.startswith("On boards (")
    assert textures == in_short(candidates, line, groups_of(candidates)[-1])
    file = _enter(workbook, tmp_path / "w.xlsx", group='="boards"', miss_cost=77)
    assert entered(file) == Entered(Assumptions(miss_cost=77), None, ("group",))
    assert 'the formula at "Dataset and protocol" was passed over' in answers(candidates, file)[0]


def test_a_dataset_and_protocol_that_has_no_models_is_told(made, tmp_path):
    workbook, candidates = made
    head, *said = answers(candidates, _enter(workbook, tmp_path / "w.xlsx", group="boards: 32 × 32"))
    assert '); there is no model of "boards: 32 × 32", which is chosen at "Dataset and protocol":' in head
    assert said == answers(candidates, workbook)[1:]
    group = next(group for group in groups_of(candidates)[1:] if group.startswith("boards"))
    head, boards, _ = answers(candidates, _enter(workbook, tmp_path / "w.xlsx", group=group.upper()))
    assert head.endswith("):") and boards == in_short(candidates, Assumptions(), group), "as the sheet, by any capitals"


def test_a_sheet_of_this_name_that_is_not_ours_says_nothing(tmp_path):
    workbook = openpyxl.Workbook()
    workbook.active.title = "Decision"
    workbook.save(tmp_path / "w.xlsx")
    assert entered(tmp_path / "w.xlsx") is None


def test_compare_says_which_runs_take_no_part_in_the_decision(tmp_path, capsys):
    make_results(tmp_path, datasets=("textures",), seeds=(0,))
    (tmp_path / "runs" / "padim-textures-0" / "scores.csv").unlink()
    assert main(["--results", str(tmp_path), "--format", "csv", "--sheet", "Decision"]) == 0
    told = capsys.readouterr()
    assert "not read: padim-textures-0 takes no part in Decision: " in told.err and "padim" not in told.out
    assert "patchcore-textures-0" in told.out


def test_a_line_is_told_in_words():
    line = Assumptions(0.07, 1.5, 2_000_000, 20_000, 0.9)
    assert in_words(line) == (
        "7% of the parts defective, a false alarm costs 1.5, a miss 2,000,000, 20,000 parts a day, at least 90% of the "
        "defects found"
    )

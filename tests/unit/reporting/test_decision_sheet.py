import dataclasses
import json
import re
import subprocess

import openpyxl
import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.office import SOFFICE, convert
from helpers.results import make_labelled, make_results, make_run, make_unequal

from training_code.comparison.decision import CHEAPEST, DEPLOYED, Assumptions, groups_of, ranking
from training_code.comparison.table import runs_table
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.reporting.decision import (
    ANSWER,
    CELLS,
    FIRST_QUESTION,
    INTRODUCTION,
    LETTERS,
    NEXT,
    OTHERS,
    QUESTIONS,
    SENTENCES,
    SHOWN,
    TABLE,
    YOURS,
    Book,
)
from training_code.reporting.decision_answer import answer, others, others_formula
from training_code.reporting.decision_page import SCRIPT, display_decision
from training_code.reporting.decision_sheet import GROUPS_HEADING
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook

_NAMES = ("defective_share", "false_alarm_cost", "miss_cost", "parts_a_day", "least_found", "threshold")
_CHEAPEST = "best for these costs"
#: Twelve lines, each with the place of its dataset among those of the workbook.
LINES = (
    ({}, 0),
    (dict(zip(_NAMES, (0.05, 2, 100, 5000), strict=False)), 0),
    (dict(zip(_NAMES, (0.3, 1, 0.5, 200), strict=False)), 1),
    ({"defective_share": 0.02, "miss_cost": 50, "least_found": 0.9}, 0),
    ({"defective_share": 0.02, "miss_cost": 50, "least_found": 1.0}, 1),
    ({"threshold": _CHEAPEST}, 0),
    (dict(zip(_NAMES, (0.05, 2, 100, 5000, 0, _CHEAPEST), strict=True)), 1),
    (dict(zip(_NAMES, (0.002, 3, 4000, 1e6, 0.95, _CHEAPEST), strict=True)), 0),
    (dict(zip(_NAMES, (0.02, 1, 0, 1000, 0.6, _CHEAPEST), strict=True)), 0),
    (dict(zip(_NAMES, (0.5, 0, 0, 100, 0, _CHEAPEST), strict=True)), 1),
    ({"defective_share": 0.2}, 2),
    (dict(zip(_NAMES, (0.2, 1, 10, 1000, 0.7, _CHEAPEST), strict=True)), 3),
)


def _lines(comparison):
    groups = groups_of(comparison.candidates)
    return [(Assumptions(**line), groups[group]) for line, group in LINES]


def _compare(results):
    runs, problems = read_records(results)
    return compare(runs_table(runs), problems)


def _said(comparison, line, group=None):
    return [text for text in answer(comparison.candidates, line, group) if text]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workbook of datasets with and without labels, of several seeds, of a run without a threshold; what is behind.

    Of the dataset with labels each seed has other test images.
    """
    folder = tmp_path_factory.mktemp("decision")
    make_results(folder / "results", datasets=("tiles", "boards"))
    make_labelled(folder / "results", (5, 20), shift=100, dataset="gears")
    make_run(folder / "results", "draem-0", "Draem", skill=1.5, dataset="boards", arguments={"max_epochs": 5})
    without = {"arguments": {"max_epochs": 6}, "thresholds": {"image": None, "pixel": 0.5}}
    make_run(folder / "results", "dsr-0", "Dsr", skill=2.5, dataset="boards", **without)
    comparison = _compare(folder / "results")
    write_workbook(folder / "w.xlsx", all_sheets(comparison, folder / "results"))
    return folder, comparison


def _enter(source, target, line, group):
    """Write what a reader would into the yellow cells, and nothing where the example does."""
    workbook = openpyxl.load_workbook(source)
    example = Assumptions()
    for row, name in enumerate(QUESTIONS, FIRST_QUESTION):
        value = group if name == "group" else getattr(line, name)
        if name == "group" or value != getattr(example, name):
            workbook["Decision"][f"{YOURS}{row}"] = value
    workbook.save(target)


def _shown(path):
    """Return the sentences and the rows of the table as a spreadsheet program shows them."""
    sheet = openpyxl.load_workbook(path, data_only=True)["Decision"]
    heads = [head for head, *_ in SHOWN]
    rows = [dict(zip(heads, [cell.value for cell in row], strict=False)) for row in sheet.iter_rows(min_row=TABLE + 1)]
    said = [sheet.cell(row, 1).value for row in range(ANSWER + 1, NEXT)]
    return [text for text in said if text], [row for row in rows if row["rank"] not in (None, "")]


@pytest.mark.slow
@pytest.mark.skipif(not SOFFICE, reason="LibreOffice is not here")
def test_the_sheet_finds_what_python_finds(made, tmp_path):
    folder, comparison = made
    lines = _lines(comparison)
    files = [tmp_path / f"{number}.xlsx" for number in range(len(lines))]
    for file, (line, group) in zip(files, lines, strict=True):
        _enter(folder / "w.xlsx", file, line, group)
    convert("xlsx:Calc MS Excel 2007 XML", files, tmp_path)
    for file, (line, group) in zip(files, lines, strict=True):
        said, rows = _shown(tmp_path / "out" / file.name)
        expected = ranking(comparison.candidates, line, group)
        assert said == _said(comparison, line, group)
        sheet = openpyxl.load_workbook(tmp_path / "out" / file.name, data_only=True)["Decision"]
        assert sheet.cell(OTHERS, 1).value == others(comparison.candidates, group)
        assert [row["Model"] for row in rows] == expected["Model"].tolist()
        for row, (_, model) in zip(rows, expected.iterrows(), strict=True):
            assert row["rank"] == ("-" if model["rank"] != model["rank"] else model["rank"])
            assert (row["note"] or "") == model["note"]
            if row["threshold"]:
                assert row["threshold"] == model["threshold"]
                pairs = {"cost a day": "cost_a_day", "from (95%)": "cost_a_day_low", "to (95%)": "cost_a_day_high"}
                for shown, name in pairs.items():
                    assert row[shown] == pytest.approx(model[name], rel=1e-12, abs=1e-9)
                assert row["share of defects found"] == pytest.approx(1 - model["image_MissRate"])


@pytest.mark.slow
@pytest.mark.skipif(not SOFFICE, reason="LibreOffice is not here")
def test_what_libreoffice_saves_is_still_ours_and_the_entries_stay(made, tmp_path):
    folder, comparison = made
    group = groups_of(comparison.candidates)[1]
    _enter(folder / "w.xlsx", tmp_path / "w.xlsx", Assumptions(0.03, 1, 77, threshold=CHEAPEST), group)
    convert("xlsx:Calc MS Excel 2007 XML", [tmp_path / "w.xlsx"], tmp_path)
    saved = tmp_path / "out" / "w.xlsx"
    assert write_workbook(saved, all_sheets(comparison, folder / "results")) == []
    workbook = openpyxl.load_workbook(saved)
    assert workbook.sheetnames == openpyxl.load_workbook(folder / "w.xlsx").sheetnames, "no sheet of kept notes"
    assert [workbook["Decision"][f"D{FIRST_QUESTION + row}"].value for row in range(7)] == [
        group,
        CHEAPEST,
        0.03,
        None,
        77,
        None,
        None,
    ]


@pytest.mark.slow
def test_entries_stay_and_formulas_cover_new_models(made, tmp_path):
    folder, comparison = made
    _enter(folder / "w.xlsx", tmp_path / "w.xlsx", Assumptions(0.03, 1, 77), groups_of(comparison.candidates)[0])
    workbook = openpyxl.load_workbook(tmp_path / "w.xlsx")
    beside = f"H{INTRODUCTION + 1}"
    workbook["Decision"][beside] = "agreed with the plant"
    workbook.save(tmp_path / "w.xlsx")
    make_results(tmp_path / "results", datasets=("tiles", "boards", "screws"))
    more = _compare(tmp_path / "results")
    for _ in range(2):
        assert write_workbook(tmp_path / "w.xlsx", all_sheets(more, tmp_path / "results")) == []
    workbook = openpyxl.load_workbook(tmp_path / "w.xlsx")
    sheet = workbook["Decision"]
    assert [sheet[f"D{FIRST_QUESTION + row}"].value for row in (2, 3, 4)] == [0.03, None, 77]
    assert sheet[beside].value == "agreed with the plant"
    assert len(sheet.data_validations.dataValidation) == len(QUESTIONS), "each once, however often it is made"
    groups = [sheet.cell(row, 2).value for row in range(TABLE + 1, sheet.max_row + 1)]
    assert {f"{name}: " in "".join(map(str, groups)) for name in ("tiles", "boards", "screws")} == {True}
    models, curves = workbook["Decision models"], workbook["Curves"]
    assert models.max_row == len(more.candidates) + 1 == 10
    assert curves.max_row == 1 + sum(len(one.curve) for one in more.candidates)
    assert "$10," in sheet[f"B{TABLE + 1}"].value, "the last model is looked at"


def test_a_yellow_cell_takes_what_is_possible_and_says_what_is_not(made):
    folder, comparison = made
    sheet = openpyxl.load_workbook(folder / "w.xlsx")["Decision"]
    found = {str(each.sqref): each for each in sheet.data_validations.dataValidation}
    rows = {name: f"D{row}" for row, name in enumerate(QUESTIONS, FIRST_QUESTION)}
    assert set(found) == set(rows.values())
    first = next(cell.row for cell in sheet["B"] if cell.value == GROUPS_HEADING) + 1
    groups = groups_of(comparison.candidates)
    assert [sheet.cell(first + number, 2).value for number in range(len(groups))] == groups
    share, amount = ("decimal", "between", "0", "1"), ("decimal", "greaterThanOrEqual", "0", None)
    expected = {
        "group": ("list", None, f"$B${first}:$B${first + len(groups) - 1}", None),
        "threshold": ("list", None, f'"{DEPLOYED},{CHEAPEST}"', None),
        "defective_share": share,
        "false_alarm_cost": amount,
        "miss_cost": amount,
        "parts_a_day": amount,
        "least_found": share,
    }
    for name, place in rows.items():
        each = found[place]
        assert (each.type, each.operator, each.formula1, each.formula2) == expected[name], name
        assert each.allowBlank and each.showErrorMessage and each.errorTitle == "Not possible"
    errors = {name: found[place].error for name, place in rows.items()}
    assert errors["defective_share"] == errors["least_found"] == "A share from 0% to 100%."
    assert "cost of a false alarm" in errors["false_alarm_cost"] and "cost of a miss" in errors["miss_cost"]
    assert errors["parts_a_day"].startswith("Parts a day") and DEPLOYED in errors["threshold"]
    assert "datasets and protocols" in errors["group"] and len(set(errors.values())) == len(errors) - 1


def test_the_answer_names_its_dataset_and_a_line_says_which_others_there_are(made):
    folder, comparison = made
    gears = groups_of(comparison.candidates)[2]
    cell = f"D{FIRST_QUESTION}"
    known = others(comparison.candidates, groups_of(comparison.candidates)[0])
    assert known == f"Also in this workbook: tiles, gears (3 protocols); choose in cell {cell}."
    told = others(comparison.candidates, gears)
    assert told == f"Also in this workbook: boards, tiles, gears (2 other protocols); choose in cell {cell}."
    assert _said(comparison, Assumptions())[0].startswith("On boards: choose ")
    assert _said(comparison, Assumptions(), gears)[0].startswith("On gears: choose ")
    sheet = openpyxl.load_workbook(folder / "w.xlsx")["Decision"]
    assert "Also in this workbook" in sheet.cell(OTHERS, 1).value and sheet.cell(OTHERS, 1).value.endswith(
        f'{cell}.","")'
    )


def test_a_blank_cell_means_the_dataset_that_was_run_last_everywhere(tmp_path):
    make_results(tmp_path / "results", datasets=("textures",))
    make_run(tmp_path / "results", "mine-0", skill=2.5, dataset="boards", finished="2026-02-01T00:00:00+00:00")
    comparison = _compare(tmp_path / "results")
    assert _said(comparison, Assumptions())[0].startswith("On boards: choose Padim (")
    page = display_decision(comparison.candidates)
    assert repr(page).startswith("On boards: choose ") and re.search(
        r'name="group"><option>boards: ', page._repr_html_()
    )
    write_workbook(tmp_path / "w.xlsx", all_sheets(comparison, tmp_path / "results"))
    workbook = openpyxl.load_workbook(tmp_path / "w.xlsx")
    sheet, used = workbook["Decision"], CELLS["group"].replace("$", "")
    default = re.match(r'=IF\(D\d+="",\$B\$(\d+),', sheet[used].value)[1]
    assert sheet[f"B{default}"].value.startswith("boards: ")
    assert workbook["Winner"]["A2"].value.endswith(", run mine-0") and workbook["Winner"]["A2"].value.startswith(
        "On boards: "
    )


def test_a_workbook_of_one_dataset_speaks_of_no_others(tmp_path):
    make_results(tmp_path / "results", datasets=("tiles",), seeds=(0,))
    comparison = _compare(tmp_path / "results")
    assert others(comparison.candidates, groups_of(comparison.candidates)[0]) == ""
    write_workbook(tmp_path / "w.xlsx", all_sheets(comparison, tmp_path / "results"))
    assert openpyxl.load_workbook(tmp_path / "w.xlsx")["Decision"].cell(OTHERS, 1).value is None


def test_many_datasets_are_not_all_named_since_a_formula_has_its_limit(made):
    _, comparison = made
    one = comparison.candidates[0]
    many = [dataclasses.replace(one, group=f"d{n}: p", dataset=f"d{n}", last_run=-n) for n in range(300)]
    told = others(many, "d5: p")
    assert told.startswith("Also in this workbook: d0, d1, d2, d3, d4, d6, ") and told.count(", ") == 10
    assert ", d10, and more; choose in cell " in told
    titles = {"Decision models": "A person has this name too auto"}
    assert len(others_formula(Book(titles, many))) < 8192, "what Excel takes"


def test_where_no_model_can_be_chosen_the_dataset_is_named(made):
    _, comparison = made
    none = [dataclasses.replace(one, deployed=None) for one in comparison.candidates]
    assert answer(none, Assumptions()) == ["On boards no model can be chosen: see the notes and the yellow cells."]
    assert answer([], Assumptions()) == ["No model can be chosen: see the notes and the yellow cells."]


def test_formulas_follow_where_people_have_sheets_of_these_names(made, tmp_path):
    folder, comparison = made
    workbook = openpyxl.Workbook()
    workbook.active.title = "Curves"
    workbook["Curves"]["A1"] = "of the road"
    workbook.save(tmp_path / "w.xlsx")
    write_workbook(tmp_path / "w.xlsx", all_sheets(comparison, folder / "results"))
    workbook = openpyxl.load_workbook(tmp_path / "w.xlsx")
    assert workbook["Curves"]["A1"].value == "of the road"
    text = "".join(str(cell.value) for row in workbook["Decision models"].iter_rows() for cell in row)
    assert "'Curves auto'!" in text and not re.search(r"\bCurves!", text)


@pytest.mark.slow
def test_nothing_but_functions_of_every_spreadsheet_program(made):
    folder, _ = made
    workbook = openpyxl.load_workbook(folder / "w.xlsx")
    used = set()
    for name in ("Decision", "Decision models", "Curves"):
        for row in workbook[name].iter_rows():
            used |= {word for cell in row if cell.data_type == "f" for word in re.findall(r"([A-Z.]+)\(", cell.value)}
    # All of them are in OpenDocument 1.2 and in Excel since 2007; TEXT, whose codes differ between languages, is not.
    known = {"IF", "IFERROR", "INDEX", "MATCH", "MID", "MIN", "MAX", "COUNT", "COUNTIF", "COUNTIFS", "ISNUMBER", "OR"}
    assert used == known | {"RANK", "ROUND", "SEARCH", "FIXED", "SQRT", "INT"}
    assert workbook["Decision"].sheet_view.showGridLines is False and workbook.sheetnames[0] == "Decision"
    assert workbook["Decision"][CELLS["threshold"].replace("$", "")].value.endswith(f'"{DEPLOYED}")')
    assert len(LETTERS) == len(SHOWN)


def test_the_cheapest_models_with_labels_and_without_stand_beside_each_other(made):
    _, comparison = made
    group = groups_of(comparison.candidates)[2]
    assert group == "gears: 64 × 64, conformal thresholds, 10% held out, 50% of the defects labelled"
    (said,) = [text for text in _said(comparison, Assumptions(), group) if "without labels" in text]
    able = {
        one.run_id.rpartition("-")[0].removeprefix("gears-"): one
        for one in comparison.candidates
        if one.beside.startswith("gears")
    }
    assert set(able) == {"patchcore", "learner-5", "learner-20"}
    costs = {
        name: ranking(comparison.candidates, Assumptions(), one.group)["cost_a_day"].iloc[0]
        for name, one in able.items()
    }
    best = min(("learner-5", "learner-20"), key=costs.get)
    number = 2 * int(best.rpartition("-")[2])
    assert (
        f"without labels: Patchcore (ResNet50 - 2 layers, 0.1 sampling, 5 neighbors), {costs['patchcore']:,.2f}" in said
    )
    assert (
        f"with labels ({number} for training, {number} for thresholds): Learner (5 epochs), {costs[best]:,.2f}" in said
    )
    assert not any("without labels" in text for text in _said(comparison, Assumptions()))


def test_sheet_page_and_python_say_the_same_of_seeds_with_other_numbers_of_images(tmp_path):
    make_unequal(tmp_path, [(60, 1, 30, 3), (20, 0, 10, 0)])
    comparison = _compare(tmp_path)
    write_workbook(tmp_path / "w.xlsx", all_sheets(comparison, tmp_path))
    workbook = openpyxl.load_workbook(tmp_path / "w.xlsx")
    head, row = workbook["Decision models"].iter_rows(values_only=True)
    sheet = dict(zip(head, row, strict=True))
    (page,) = _content(display_decision(comparison.candidates))["candidates"]
    model = ranking(comparison.candidates, Assumptions()).iloc[0]
    for name, rates, expected in (("FalseAlarmRate", "alarms", 1 / 120), ("MissRate", "misses", 0.05)):
        ends = [model[f"image_{name}{end}"] for end in ("", "_low", "_high")]
        assert ends[0] == pytest.approx(expected) and page["deployed"][rates] == [ends]
        assert [sheet[f"image_{name}{end} in force"] for end in ("", "_low", "_high")] == pytest.approx(ends)
    assert (sheet["good images"], sheet["defective images"]) == (20, 10)
    assert "good ones, the mean over 2 seeds, each on at least so many images; " in workbook["Winner"]["A3"].value


def test_a_sentence_that_no_dataset_needs_leaves_no_gap(tmp_path):
    make_results(tmp_path / "results", datasets=("tiles",))
    comparison = _compare(tmp_path / "results")
    assert len(_said(comparison, Assumptions())) < SENTENCES, "without labels nothing is said of them"
    write_workbook(tmp_path / "w.xlsx", all_sheets(comparison, tmp_path / "results"))
    rows = openpyxl.load_workbook(tmp_path / "w.xlsx")["Decision"].row_dimensions
    assert max(rows[ANSWER + number].height for number in range(2, SENTENCES + 1)) <= 30, "points: two lines at most"


def test_without_scores_there_is_no_sheet(tmp_path):
    make_run(tmp_path, "padim-0", types=("good",))
    names = [sheet.name for sheet in all_sheets(_compare(tmp_path), tmp_path)]
    assert not {"Decision", "Decision models", "Curves"} & set(names)


def _node():
    """Return the Node.js that comes with Playwright."""
    from playwright._impl._driver import compute_driver_executable

    return compute_driver_executable()[0]


def _content(page):
    return json.loads(
        re.search(r"start\(document.getElementById\(\"[^\"]+\"\), (.*)\);\n", page._repr_html_()).group(1)
    )


@pytest.mark.slow
def test_the_page_finds_what_python_finds(made, tmp_path):
    _, comparison = made
    content = _content(display_decision(comparison.candidates))
    lines = [dataclasses.asdict(line) | {"group": group} for line, group in _lines(comparison)]
    program = f"""{SCRIPT.read_text()}
    const [content, lines] = {json.dumps([content, lines])};
    console.log(JSON.stringify(lines.map((line) => {{
      const rows = ranking(content.candidates, line, content.words);
      const numbers = rows.map((row) => [row.one.run_id, row.rank, row.threshold ?? null, row.cost ?? null, row.note]);
      return [answer(rows, line, content.words, content.candidates), numbers];
    }})));"""
    (tmp_path / "page.js").write_text(program)
    found = subprocess.run([_node(), tmp_path / "page.js"], capture_output=True, text=True, check=True).stdout
    for (said, rows), (line, group) in zip(json.loads(found), _lines(comparison), strict=True):
        assert said == answer(comparison.candidates, line, group)
        expected = ranking(comparison.candidates, line, group)
        for (run_id, number, threshold, cost, note), (_, model) in zip(rows, expected.iterrows(), strict=True):
            assert (run_id, note) == (model["run_id"], model["note"])
            assert number == (None if model["rank"] != model["rank"] else model["rank"])
            if cost is not None:
                assert threshold == model["threshold"]
                names = ("cost_a_day", "cost_a_day_low", "cost_a_day_high")
                assert cost == pytest.approx(model[list(names)].tolist(), abs=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="neither Chromium nor Chrome is here")
def test_a_reader_changes_the_numbers_in_the_page(made, tmp_path):
    _, comparison = made
    file = tmp_path / "page.html"
    file.write_text(f"<html><body>{display_decision(comparison.candidates)._repr_html_()}</body></html>")
    line = Assumptions(0.05, 2, 100, 5000, threshold=CHEAPEST)
    with open_page(file.as_uri()) as (page, asked):
        assert page.locator(".answer p").all_inner_texts() == _said(comparison, Assumptions())
        page.select_option("[name=threshold]", CHEAPEST)
        for name, value in (("defective_share", "5"), ("false_alarm_cost", "2"), ("miss_cost", "100")):
            page.fill(f"[name={name}]", value)
        page.fill("[name=parts_a_day]", "5000")
        assert page.locator(".answer p").all_inner_texts() == _said(comparison, line)
        costs = [
            float(row.split()[0])
            for row in page.locator("tbody tr").evaluate_all("rows => rows.map(r => r.dataset.cost)")
        ]
    assert costs == pytest.approx(ranking(comparison.candidates, line)["cost_a_day"].tolist())
    assert asked == [file.as_uri()], "nothing from elsewhere"


def test_names_of_files_and_folders_are_text_in_the_page(made):
    _, comparison = made
    odd = dataclasses.replace(comparison.candidates[0], group="</script><b>", configuration="<img src=x>")
    page = display_decision([odd])._repr_html_()
    assert "<b>" not in page and "<img" not in page and page.count("</script>") == 1
    assert _content(display_decision([odd]))["candidates"][0]["details"].endswith("<img src=x>")


def test_a_notebook_begins_with_the_numbers_that_it_is_given(made):
    _, comparison = made
    shown = display_decision(comparison.candidates, Assumptions(0.25, miss_cost=7, threshold=CHEAPEST))
    page = shown._repr_html_()
    assert 'name="defective_share" min="0" max="100" step="any" value="25"' in page and 'value="7"' in page
    assert page.index(f"<option>{CHEAPEST}") < page.index(f"<option>{DEPLOYED}")
    assert repr(shown).startswith("On boards: choose ") and "a day" in repr(shown)
    with pytest.raises(InputError, match="boards"):
        display_decision(comparison.candidates, group="screws")

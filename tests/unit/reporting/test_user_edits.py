"""The workbook belongs to its readers: what they do to it is still there when it is made again.

Each kind of edit is tried on each sheet. Between the two writings a detector comes first that was not there before,
so that rows move everywhere and, in pivots, columns too.
"""

import copy
import datetime
import functools
import io
import shutil

import openpyxl
import pytest
from helpers.results import DETECTORS, make_run
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.drawing.image import Image as Picture
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table
from PIL import Image

from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook

# A row of each sheet, by words in it, and a column with a value in it.
ROWS = {
    "Best models": (("Padim", "padim-0"), "backbone"),
    "Comparison d": (("image_F1Score",), 2),
    "All runs": (("padim-0",), "image_AUROC"),
    "By backbone": (("Padim",), "ResNet18"),
    "By dataset": (("Padim",), "backbone"),
    "By defect type": (("scratch", "image_AUROC"), "Padim"),
    "Hyper-parameters": (("n_features", 200), "difference"),
    "Speed and size": (("padim-0",), "latency_s"),
    "Examples": (("padim-0",), "backbone"),
    "Decision models": (("padim-0",), "seeds"),
    "Curves": (("padim-0",), "threshold"),
    "Failed": (("padim-bad",), "error"),
    "About": (("seeds",), "value"),
}
YELLOW = PatternFill("solid", fgColor="FFFF00")


def _sheets(results):
    runs, problems = read_records(results)
    return {sheet.name: sheet for sheet in all_sheets(compare(runs_table(runs), problems), results)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The sheets before and after, by name."""
    results = tmp_path_factory.mktemp("made") / "results"
    for number, features in enumerate((100, 200)):
        arguments = DETECTORS["Padim"] | {"n_features": features}
        make_run(results, f"padim-{number}", skill=3.0 - number, arguments=arguments)
    make_run(results, "patchcore-0", "Patchcore", skill=1.0)
    make_run(results, "padim-bad", seed=1, status="failed", metrics={}, times={}, error="too slow")
    before = _sheets(results)
    make_run(results, "cflow-0", "Cflow", skill=0.5)
    arguments = DETECTORS["Cflow"] | {"max_epochs": 9}
    make_run(results, "cflow-1", "Cflow", skill=0.7, arguments=arguments)
    make_run(results, "cflow-bad", "Cflow", seed=1, status="failed", metrics={}, times={}, error="=cmd()")
    return before, _sheets(results)


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    """Return a function that gives the file with some sheets as they are before an edit, written once for all tests."""

    @functools.cache
    def write(*names):
        path = tmp_path_factory.mktemp("written") / "w.xlsx"
        write_workbook(path, [made[0][name] for name in names])
        return path

    return write


@pytest.fixture
def again(made, written, tmp_path):
    """Write a sheet, edit it, write it again with more runs; return the workbook and what was told."""

    def write(name, edit):
        path = tmp_path / "w.xlsx"
        names = list(made[0]) if name is None else [name]
        shutil.copyfile(written(*names), path)
        workbook = openpyxl.load_workbook(path)
        edit(workbook)
        workbook.save(path)
        told = write_workbook(path, [made[1][name] for name in names])
        copies = list(tmp_path.glob("w.before-*.xlsx"))
        assert bool(told) == bool(copies), "a copy is made and named, or all is kept"
        return openpyxl.load_workbook(path, rich_text=True), told

    return write


def row_of(sheet):
    """Return the row of `ROWS` in a sheet."""
    words, _ = ROWS[sheet.title]
    inside = sheet.title != "Comparison d"
    for row in range(1, sheet.max_row + 1):
        values = [cell.value for cell in sheet[row]]
        inside = inside or values[0] == "Padim"
        if inside and all(word in values for word in words):
            return row
    raise AssertionError(f"no row with {words} in {sheet.title}")


def column_of(sheet):
    """Return the column of `ROWS` in a sheet."""
    _, column = ROWS[sheet.title]
    return column if isinstance(column, int) else [cell.value for cell in sheet[1]].index(column) + 1


def ours(sheet):
    return sheet.cell(row_of(sheet), column_of(sheet))


def beside(sheet, distance=1):
    return sheet.cell(row_of(sheet), sheet.max_column + distance)


def find(sheet, value):
    """Return the only cell that holds a value."""
    (cell,) = [cell for row in sheet.iter_rows() for cell in row if cell.value == value]
    return cell


def _same_row(sheet, value):
    assert find(sheet, value).row == row_of(sheet)


class Kinds:
    """Kinds of edits: each edits a sheet, and returns what must hold in the new one."""

    @staticmethod
    def text_beside_a_row(sheet):
        beside(sheet).value = "mine"
        return lambda new: _same_row(new, "mine")

    @staticmethod
    def text_far_beside_a_row(sheet):
        beside(sheet, 4).value = "mine"
        return lambda new: _same_row(new, "mine")

    @staticmethod
    def a_column_with_a_header(sheet):
        cell = beside(sheet)
        cell.value, sheet.cell(1, cell.column).value = "mine", "owner"

        def check(new):
            _same_row(new, "mine")
            assert find(new, "owner").coordinate == f"{find(new, 'mine').column_letter}1"

        return check

    @staticmethod
    def two_columns_of_one_name(sheet):
        for text in ("mine", "yours"):
            cell = beside(sheet)
            cell.value, sheet.cell(1, cell.column).value = text, "owner"
        return lambda new: (_same_row(new, "mine"), _same_row(new, "yours"))

    @staticmethod
    def a_column_with_the_name_of_ours(sheet):
        cell = beside(sheet)
        name = sheet.cell(1, column_of(sheet)).value
        cell.value, sheet.cell(1, cell.column).value = "mine", name
        value = ours(sheet).value

        def check(new):
            _same_row(new, "mine")
            assert name is None or value in [cell.value for cell in new[row_of(new)]]

        return check

    @staticmethod
    def a_column_on_the_left(sheet):
        sheet.insert_cols(1)
        sheet.cell(1, 1).value = "owner"
        row = next(r for r in range(1, sheet.max_row + 1) if _has_words(sheet, r))
        sheet.cell(row, 1).value = "mine"
        return lambda new: (_same_row(new, "mine"), find(new, "owner"))

    @staticmethod
    def a_number_beside(sheet):
        beside(sheet).value = 12.75
        return lambda new: _same_row(new, 12.75)

    @staticmethod
    def a_date_beside(sheet):
        beside(sheet).value = datetime.datetime(2026, 5, 4)
        return lambda new: _same_row(new, datetime.datetime(2026, 5, 4))

    @staticmethod
    def partly_bold_text_beside(sheet):
        beside(sheet).value = CellRichText("very ", TextBlock(InlineFont(b=True), "good"))

        def check(new):
            (cell,) = [cell for row in new for cell in row if str(cell.value) == "very good"]
            assert cell.row == row_of(new) and cell.value[1].font.b

        return check

    @staticmethod
    def text_that_looks_like_a_formula(sheet):
        cell = beside(sheet)
        cell.value, cell.data_type = "=mine", "s"
        return lambda new: find(new, "=mine").data_type == "s" or pytest.fail("a formula")

    @staticmethod
    def a_formula_beside(sheet):
        beside(sheet).value = f"=UPPER({ours(sheet).coordinate})"

        def check(new):
            cell = find(new, f"=UPPER({ours(new).coordinate})")
            assert cell.data_type == "f" and cell.row == row_of(new)

        return check

    @staticmethod
    def a_formula_below(sheet):
        sheet.cell(sheet.max_row + 2, 2).value = f"=COUNTA({ours(sheet).coordinate})"
        return lambda new: find(new, f"=COUNTA({ours(new).coordinate})")

    @staticmethod
    def text_right_below(sheet):
        last = sheet.max_row
        sheet.cell(last + 1, 1).value = "mine"
        return lambda new: find(new, "mine").row == new.max_row or pytest.fail("not below")

    @staticmethod
    def text_far_below(sheet):
        sheet.cell(sheet.max_row + 6, 3).value = "mine"
        return lambda new: (find(new, "mine").row == new.max_row and find(new, "mine").column >= 3) or pytest.fail()

    @staticmethod
    def text_below_and_beside(sheet):
        sheet.cell(sheet.max_row + 3, sheet.max_column + 3).value = "mine"
        return lambda new: find(new, "mine")

    @staticmethod
    def a_row_in_between(sheet):
        sheet.insert_rows(row_of(sheet))
        sheet.cell(row_of(sheet) - 1, 2).value = "mine"
        return lambda new: find(new, "mine").row > row_of(new) or pytest.fail()

    @staticmethod
    def a_value_of_ours_written_over(sheet):
        right = ours(sheet).value
        ours(sheet).value = "mine"

        def check(new):
            assert ours(new).value == right
            row = [cell.value for cell in new.parent["Kept notes"][2]]
            assert row[0] == new.title and row[3] == "mine"

        return check

    @staticmethod
    def a_formula_over_a_value_of_ours(sheet):
        ours(sheet).value = "=1+1"
        return lambda new: find(new.parent["Kept notes"], "formula: =1+1")

    @staticmethod
    def a_value_of_ours_deleted(sheet):
        right = ours(sheet).value
        ours(sheet).value = None
        return lambda new: ours(new).value == right or pytest.fail("not the value of the record")

    @staticmethod
    def a_comment_on_a_value(sheet):
        ours(sheet).comment = Comment("why?", "me")
        return lambda new: ours(new).comment.text == "why?" or pytest.fail()

    @staticmethod
    def a_comment_beside(sheet):
        beside(sheet).comment = Comment("why?", "me")
        return lambda new: [c for c in new[row_of(new)] if c.comment and c.comment.text == "why?"] or pytest.fail()

    @staticmethod
    def another_comment_on_a_header(sheet):
        sheet["A1"].comment = Comment("not true", "me")
        return lambda new: new["A1"].comment.text == "not true" or pytest.fail()

    @staticmethod
    def a_deleted_comment_of_a_header(sheet):
        right = ours(sheet).value
        for cell in sheet[1]:
            cell.comment = None
        ours(sheet).value = "wrong"

        def check(new):
            assert ours(new).value == right and new["A1"].comment is not None
            assert not [cell for row in new for cell in row if cell.value == "wrong"]

        return check

    @staticmethod
    def a_color(sheet):
        ours(sheet).fill = YELLOW
        return lambda new: ours(new).fill.fgColor.rgb[-6:] == "FFFF00" or pytest.fail()

    @staticmethod
    def a_font(sheet):
        ours(sheet).font = Font(italic=True, color="FF0000", size=15)
        return lambda new: (ours(new).font.i and ours(new).font.sz == 15) or pytest.fail()

    @staticmethod
    def a_border(sheet):
        ours(sheet).border = Border(top=Side("thick"))
        return lambda new: ours(new).border.top.style == "thick" or pytest.fail()

    @staticmethod
    def a_number_format(sheet):
        ours(sheet).number_format = "0.00000"
        return lambda new: ours(new).number_format == "0.00000" or pytest.fail()

    @staticmethod
    def an_alignment(sheet):
        ours(sheet).alignment = Alignment(horizontal="center")
        return lambda new: ours(new).alignment.horizontal == "center" or pytest.fail()

    @staticmethod
    def a_color_of_nothing(sheet):
        beside(sheet).fill = YELLOW
        return lambda new: [c for c in new[row_of(new)] if c.fill.fgColor.rgb == "00FFFF00"] or pytest.fail()

    @staticmethod
    def a_link_on_a_value(sheet):
        ours(sheet).hyperlink = "https://example.org/a"
        return lambda new: ours(new).hyperlink.target == "https://example.org/a" or pytest.fail()

    @staticmethod
    def a_link_beside(sheet):
        beside(sheet).hyperlink = "https://example.org/a"
        return lambda new: find(new, "https://example.org/a").hyperlink.target or pytest.fail()

    @staticmethod
    def a_hidden_column(sheet):
        sheet.column_dimensions[get_column_letter(column_of(sheet))].hidden = True
        return lambda new: new.column_dimensions[get_column_letter(column_of(new))].hidden or pytest.fail()

    @staticmethod
    def a_width(sheet):
        sheet.column_dimensions[get_column_letter(column_of(sheet))].width = 66
        return lambda new: new.column_dimensions[get_column_letter(column_of(new))].width == 66 or pytest.fail()

    @staticmethod
    def grouped_columns(sheet):
        sheet.column_dimensions.group("A", get_column_letter(column_of(sheet)), outline_level=1)
        return lambda new: new.column_dimensions["A"].outlineLevel == 1 or pytest.fail()

    @staticmethod
    def a_hidden_row(sheet):
        sheet.row_dimensions[row_of(sheet)].hidden = True
        return lambda new: new.row_dimensions[row_of(new)].hidden or pytest.fail()

    @staticmethod
    def a_height(sheet):
        sheet.row_dimensions[row_of(sheet)].height = 99
        return lambda new: new.row_dimensions[row_of(new)].height == 99 or pytest.fail()

    @staticmethod
    def a_filter(sheet):
        sheet.auto_filter.ref = sheet.auto_filter.ref or f"A1:{get_column_letter(sheet.max_column)}{sheet.max_row}"
        sheet.auto_filter.add_filter_column(column_of(sheet) - 1, ["x"])

        def check(new):
            (column,) = new.auto_filter.filterColumn
            assert column.colId == column_of(new) - 1 and column.filters.filter == ["x"]

        return check

    @staticmethod
    def a_conditional_format(sheet):
        sheet.conditional_formatting.add(ours(sheet).coordinate, CellIsRule("greaterThan", ["0.5"], fill=YELLOW))

        def check(new):
            areas = [str(f.sqref) for f in new.conditional_formatting for r in f.rules if r.type == "cellIs"]
            assert areas == [ours(new).coordinate]

        return check

    @staticmethod
    def a_validation(sheet):
        validation = DataValidation("list", formula1='"yes,no"')
        validation.add(ours(sheet).coordinate)
        sheet.add_data_validation(validation)

        def check(new):
            (found,) = new.data_validations.dataValidation
            assert str(found.sqref) == ours(new).coordinate and found.formula1 == '"yes,no"'

        return check

    @staticmethod
    def merged_cells_below(sheet):
        row = sheet.max_row + 2
        sheet.cell(row, 1).value = "mine"
        sheet.merge_cells(start_row=row, end_row=row + 1, start_column=1, end_column=2)

        def check(new):
            (area,) = new.merged_cells.ranges
            assert area.size == {"columns": 2, "rows": 2} and area.start_cell.value == "mine"

        return check

    @staticmethod
    def other_panes_and_zoom(sheet):
        sheet.freeze_panes, sheet.sheet_view.zoomScale = "D4", 70
        return lambda new: (new.freeze_panes, new.sheet_view.zoomScale) == ("D4", 70) or pytest.fail()

    @staticmethod
    def a_color_of_the_tab(sheet):
        sheet.sheet_properties.tabColor = "FF0000"
        return lambda new: new.sheet_properties.tabColor.rgb[-6:] == "FF0000" or pytest.fail()

    @staticmethod
    def how_it_is_printed(sheet):
        sheet.page_setup.orientation, sheet.oddFooter.center.text = "portrait", "mine"
        sheet.print_title_rows = "1:1"

        def check(new):
            assert (new.page_setup.orientation, new.oddFooter.center.text) == ("portrait", "mine")
            assert new.print_title_rows == "$1:$1"

        return check

    @staticmethod
    def protection(sheet):
        sheet.protection.sheet = True
        return lambda new: new.protection.sheet or pytest.fail()

    @staticmethod
    def a_picture(sheet):
        file = io.BytesIO()
        Image.new("RGB", (7, 5), "red").save(file, "PNG")
        sheet.add_image(Picture(file), f"{get_column_letter(sheet.max_column + 2)}{row_of(sheet)}")

        def check(new):
            (picture,) = [picture for picture in new._images if (picture.width, picture.height) == (7, 5)]
            assert picture.anchor._from.row + 1 == row_of(new)

        return check

    @staticmethod
    def a_chart(sheet):
        chart = BarChart()
        chart.add_data(Reference(sheet, min_col=column_of(sheet), min_row=row_of(sheet)), titles_from_data=False)
        sheet.add_chart(chart, f"{get_column_letter(sheet.max_column + 2)}2")

        def check(new):
            cell = ours(new)
            wanted = f"${cell.column_letter}${cell.row}"
            sources = [series.val.numRef.f for chart in new._charts for series in chart.series if series.val]
            assert any(source.endswith(wanted) for source in sources)

        return check

    @staticmethod
    def a_copy_of_the_sheet(sheet):
        copy = sheet.parent.copy_worksheet(sheet)
        copy.title = f"{sheet.title} (2)"
        copy["B2"] = "mine"
        return lambda new: new.parent[f"{new.title} (2)"]["B2"].value == "mine" or pytest.fail()

    @staticmethod
    def a_sheet_of_theirs_that_refers_to_ours(sheet):
        plan = sheet.parent.create_sheet("Plan")
        plan["A1"] = f"='{sheet.title}'!{ours(sheet).coordinate}"
        return lambda new: new.parent["Plan"]["A1"].value == f"='{new.title}'!{ours(new).coordinate}" or pytest.fail()

    @staticmethod
    def a_hidden_sheet(sheet):
        sheet.parent.create_sheet("Plan", 0)
        sheet.parent.active = 0
        sheet.sheet_state = "hidden"
        return lambda new: (new.sheet_state == "hidden" and new.parent.active.title == "Plan") or pytest.fail()


def _has_words(sheet, row):
    words, _ = ROWS[sheet.title]
    values = [cell.value for cell in sheet[row]]
    above = [cell.value for (r, _), cell in sheet._cells.items() if r < row]
    return all(word in values for word in words) and (sheet.title != "Comparison d" or "Padim" in above)


KINDS = [name for name in vars(Kinds) if not name.startswith("_")]


# All kinds on all sheets; `make check` tries each kind on one of them.
CASES = [
    pytest.param(kind, name, marks=() if (number - place) % len(ROWS) == 0 else pytest.mark.slow)
    for number, kind in enumerate(KINDS)
    for place, name in enumerate(ROWS)
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_edits_are_there_when_the_workbook_is_made_again(again, kind, name):
    checks = []
    workbook, told = again(name, lambda workbook: checks.append(getattr(Kinds, kind)(workbook[name])))
    assert not told, "all of these can be kept"
    (check,) = checks
    check(workbook[name])


# ------------------------------------------------------------------------------------------------ edits of their own


def _table(name, made, number=1):
    table = made[number][name].table
    return table.assign(run_id=table["run_id"].astype(str)).set_index("run_id")


def test_rows_that_were_sorted_are_found_by_what_is_in_them(again, made):
    def sort(workbook):
        sheet = workbook["All runs"]
        rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
        column = sheet.max_column + 1
        where = [cell.value for cell in sheet[1]].index("run_id")
        for number, values in enumerate(reversed(rows), 2):
            for place, value in enumerate([*values, f"on {values[where]}"], 1):
                sheet.cell(number, place).value = value
        sheet.cell(1, column).value = "owner"

    workbook, told = again("All runs", sort)
    sheet = workbook["All runs"]
    header = [cell.value for cell in sheet[1]]
    rows = {row[header.index("run_id")]: row for row in sheet.iter_rows(min_row=2, values_only=True)}
    assert {name: row[header.index("owner")] for name, row in rows.items()} == {
        name: None if name.startswith("cflow") else f"on {name}" for name in _table("All runs", made).index
    }
    assert "Kept notes" not in workbook.sheetnames and not told


def test_columns_that_were_moved_stay_there_and_those_deleted_come_back(again):
    def move(workbook):
        sheet = workbook["Speed and size"]
        sheet.delete_cols([cell.value for cell in sheet[1]].index("fit_s") + 1)
        sheet.insert_cols(1)
        source = [cell.value for cell in sheet[1]].index("latency_s") + 1
        for row in range(1, sheet.max_row + 1):
            sheet.cell(row, 1).value = sheet.cell(row, source).value
        sheet.delete_cols(source)

    workbook, _ = again("Speed and size", move)
    header = [cell.value for cell in workbook["Speed and size"][1]]
    assert header[0] == "latency_s" and header.count("latency_s") == 1 and "fit_s" in header


@pytest.mark.parametrize("text", ["AUC!", None])
def test_a_column_of_ours_without_its_name_is_still_ours(again, text):
    def rename(workbook):
        sheet = workbook["All runs"]
        sheet.cell(1, column_of(sheet)).comment = None
        sheet.cell(1, column_of(sheet)).value = text

    workbook, _ = again("All runs", rename)
    header = [cell.value for cell in workbook["All runs"][1]]
    assert header.count("image_AUROC") == 1 and text not in header[:-1] + [header[-1] or "AUC!"] or text is None
    if text:
        assert find(workbook["Kept notes"], text).row == 2


def test_a_sheet_of_ours_under_another_name_is_theirs(again):
    def rename(workbook):
        workbook["All runs"]["B2"] = "mine"
        workbook["All runs"].title = "June"

    workbook, told = again("All runs", rename)
    assert workbook["June"]["B2"].value == "mine" and workbook["All runs"]["B2"].value == "d" and not told


def test_a_sheet_of_theirs_under_our_name_is_theirs(again):
    def replace(workbook):
        workbook.remove(workbook["All runs"])
        sheet = workbook.create_sheet("All runs")
        sheet["A1"], sheet["B7"] = "mine", 3

    workbook, _ = again("All runs", replace)
    assert workbook["All runs"]["A1"].value == "mine" and workbook["All runs auto"]["A2"].value == "ok"


def test_what_is_written_in_a_sheet_that_is_made_no_more_is_kept(made, tmp_path):
    path = tmp_path / "w.xlsx"
    write_workbook(path, [made[0]["About"], made[0]["Comparison d"]])
    workbook = openpyxl.load_workbook(path)
    beside(workbook["Comparison d"]).value = "mine"
    ours(workbook["Comparison d"]).comment = Comment("why?", "me")
    workbook.create_sheet("Plan")["A1"] = "='Comparison d'!B3"
    workbook.save(path)
    told = write_workbook(path, [made[1]["About"]])
    workbook = openpyxl.load_workbook(path)
    assert "Comparison d" not in workbook.sheetnames and workbook["Plan"]["A1"].value == "=#REF!"
    assert any("'Comparison d'!B3" in line for line in told), "what a formula was is told"
    kept = list(workbook["Kept notes"].iter_rows(min_row=2, values_only=True))
    assert {row[3] for row in kept} == {"mine", "comment: why?"} and all(row[0] == "Comparison d" for row in kept)


def test_formulas_over_all_rows_take_the_new_ones_and_others_their_own(again):
    def add(workbook):
        sheet = workbook["All runs"]
        last, letter = sheet.max_row, get_column_letter(column_of(sheet))
        for row, formula in enumerate((f"{letter}2:{letter}{last}", f"${letter}$2:{letter}3", f"{letter}:{letter}"), 2):
            sheet.cell(last + row, 1).value = f"=SUM({formula})"

    workbook, told = again("All runs", add)
    sheet = workbook["All runs"]
    column, first = ours(sheet).column_letter, row_of(sheet)
    formulas = [cell.value for cell in sheet["A"] if str(cell.value).startswith("=")]
    assert first == 5 and not told
    assert formulas == [f"=SUM({column}2:{column}8)", f"=SUM(${column}$5:{column}6)", f"=SUM({column}:{column})"]


def test_a_table_that_people_made_of_ours_grows_with_it(again):
    def make(workbook):
        sheet = workbook["All runs"]
        sheet.auto_filter.ref = None
        sheet.add_table(Table(displayName="Runs", ref=sheet.dimensions))

    workbook, told = again("All runs", make)
    sheet = workbook["All runs"]
    assert sheet.tables["Runs"].ref == sheet.dimensions and sheet.auto_filter.ref is None and not told


def test_merged_cells_that_would_hide_values_are_told(again):
    workbook, told = again("All runs", lambda workbook: workbook["All runs"].merge_cells("A2:B3"))
    assert "All runs!A2:B3 is no longer merged" in told[1]
    assert not workbook["All runs"].merged_cells.ranges and workbook["All runs"]["B2"].value == "d"


def test_a_note_that_was_deleted_from_the_kept_ones_is_gone_and_one_that_was_changed_is_changed(made, tmp_path):
    path = tmp_path / "w.xlsx"
    write_workbook(path, [made[1]["All runs"]])
    workbook = openpyxl.load_workbook(path)
    sheet = workbook["All runs"]
    notes = [cell.value for cell in sheet[1]].index("notes") + 1
    for row, text in ((2, "one"), (3, "two"), (4, "three")):  # of cflow's runs
        sheet.cell(row, notes).value = text
    workbook.save(path)
    write_workbook(path, [made[0]["All runs"]])
    workbook = openpyxl.load_workbook(path)
    kept = workbook["Kept notes"]
    find(kept, "two").value = "two and a half"
    find(kept, "three").fill = YELLOW
    kept.delete_rows(find(kept, "one").row)
    workbook.save(path)
    write_workbook(path, [made[0]["All runs"]])
    kept = openpyxl.load_workbook(path)["Kept notes"]
    assert find(kept, "three").fill.fgColor.rgb == "00FFFF00"
    write_workbook(path, [made[1]["All runs"]])
    workbook = openpyxl.load_workbook(path)
    shown = [workbook["All runs"].cell(row, notes).value for row in (2, 3, 4)]
    assert shown == [None, "two and a half", "three"] and "Kept notes" not in workbook.sheetnames


def _dump(path):
    workbook = openpyxl.load_workbook(path)
    shown = {}
    for sheet in workbook.worksheets:
        cells = {
            cell.coordinate: (cell.value, cell.fill.fgColor.rgb, cell.font.b, cell.comment and cell.comment.text)
            for row in sheet.iter_rows()
            for cell in row
            if (cell.value is not None or cell.has_style or cell.comment) and sheet.title != "training_code"
        }
        drawings = [(item.anchor._from.row, item.anchor._from.col) for item in sheet._charts + sheet._images]
        formats = sorted(str(found.sqref) for found in sheet.conditional_formatting)
        shown[sheet.title] = (cells, drawings, formats, sheet.dimensions, sheet.auto_filter.ref, sheet.freeze_panes)
    return shown


@pytest.mark.slow
def test_made_again_and_again_a_workbook_full_of_edits_stays_as_it_is(made, tmp_path):
    path = tmp_path / "w.xlsx"
    write_workbook(path, list(made[0].values()))
    workbook = openpyxl.load_workbook(path)
    for name in ROWS:
        for kind in ("text_far_beside_a_row", "a_formula_below", "a_color", "a_picture", "a_chart", "text_far_below"):
            getattr(Kinds, kind)(workbook[name])
        for kind in ("a_conditional_format", "merged_cells_below", "a_value_of_ours_written_over"):
            getattr(Kinds, kind)(workbook[name])
    workbook.save(path)
    sheets = [sheet for name, sheet in made[1].items()]
    assert write_workbook(path, sheets) == []
    first = _dump(path)
    for _ in range(2):
        assert write_workbook(path, sheets) == []
        assert _dump(path) == first


def test_a_copy_of_a_chart_of_ours_is_theirs_and_ours_stays_where_it_was_moved(again):
    def edit(workbook):
        sheet = workbook["Best models"]
        (chart,) = sheet._charts
        copied = copy.deepcopy(chart)
        copied.anchor._from.row += 30
        sheet._charts.insert(0, copied)

    workbook, told = again("Best models", edit)
    assert len(workbook["Best models"]._charts) == 2 and not told

    def move(workbook):
        workbook["Best models"]._charts[0].anchor._from.col = 9

    workbook, _ = again("Best models", move)
    assert 9 in [chart.anchor._from.col for chart in workbook["Best models"]._charts]


def test_pictures_of_ours_are_there_once_also_when_a_program_saved_them_in_another_way(made, tmp_path):
    path = tmp_path / "w.xlsx"
    write_workbook(path, [made[1]["Examples"]])
    workbook = openpyxl.load_workbook(path)
    for picture in workbook["Examples"]._images:
        file = io.BytesIO()
        Image.open(picture.ref).save(file, "PNG")
        picture.ref, picture.format = file, "png"
    number = len(workbook["Examples"]._images)
    workbook.save(path)
    write_workbook(path, [made[1]["Examples"]])
    assert len(openpyxl.load_workbook(path)["Examples"]._images) == number > 0


def test_a_word_made_bold_in_text_of_ours_stays_bold(again):
    def edit(workbook):
        ours(workbook["Examples"]).value = CellRichText("Res", TextBlock(InlineFont(b=True), "Net18"))

    workbook, told = again("Examples", edit)
    assert ours(workbook["Examples"]).value[1].font.b and "Kept notes" not in workbook.sheetnames and not told


def test_names_of_cells_and_validation_by_a_list_follow_ours(again):
    def edit(workbook):
        cell = ours(workbook["All runs"])
        place = f"'All runs'!${cell.column_letter}${cell.row}"
        workbook.defined_names["best"] = DefinedName("best", attr_text=place)
        plan = workbook.create_sheet("Plan")
        validation = DataValidation("list", formula1=place)
        validation.add("A1")
        plan.add_data_validation(validation)

    workbook, _ = again("All runs", edit)
    cell = ours(workbook["All runs"])
    place = f"'All runs'!${cell.column_letter}${cell.row}"
    assert workbook.defined_names["best"].attr_text == place
    assert workbook["Plan"].data_validations.dataValidation[0].formula1 == place

"""What a reader sees first, and on paper: columns for programs are folded, numbers are told, sheets fit on A4."""

import openpyxl
import pytest
from helpers.office import SOFFICE, convert
from helpers.results import make_results, make_run
from openpyxl.formula import Tokenizer
from openpyxl.utils import column_index_from_string, get_column_letter, range_boundaries
from PIL import Image

from training_code.comparison.table import runs_table
from training_code.display.examples import read_examples
from training_code.records.reading import read_records
from training_code.reporting import written
from training_code.reporting.decision import ANSWER, FIRST_QUESTION, NEXT, QUESTIONS, WINNER, YOURS, Book, literal
from training_code.reporting.decision_answer import next_formula
from training_code.reporting.page import MOST_CHARACTERS
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook


def _sheets(results):
    runs, problems = read_records(results)
    return all_sheets(compare(runs_table(runs), problems), results)


def _header(sheet):
    return {cell.value: cell.column for cell in sheet[1] if cell.value is not None}


def _hidden(sheet):
    """Return the names of the columns that are not seen."""
    hidden = set()
    for letter, found in sheet.column_dimensions.items():
        first = found.min or column_index_from_string(letter)
        hidden |= set(range(first, (found.max or first) + 1)) if found.hidden else set()
    return {name for name, column in _header(sheet).items() if column in hidden}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workbook of three detectors with three seeds each on two datasets, and what it was made from."""
    folder = tmp_path_factory.mktemp("pages")
    make_results(folder / "results", datasets=("tiles", "boards"))
    for kind, count in (("hit", 4), ("false_alarm", 1)):
        for number in range(1, count + 1):
            for run in (folder / "results" / "runs").iterdir():
                Image.new("RGB", (358, 192), "navy").save(run / "examples" / f"{kind}_{number}.png")
    sheets = _sheets(folder / "results")
    write_workbook(folder / "w.xlsx", sheets)
    return folder, sheets


@pytest.fixture
def book(made):
    return openpyxl.load_workbook(made[0] / "w.xlsx")


def test_every_sheet_prints_on_a4_across_in_letters_that_can_be_read(book):
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            continue
        setup = sheet.page_setup
        assert (str(setup.paperSize), setup.orientation, setup.fitToHeight) == ("9", "landscape", 0), sheet.title
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        left, top, right, bottom = range_boundaries(sheet.print_area.rpartition("!")[2].replace("$", ""))
        assert (left, top) == (1, 1) and right >= sheet.max_column and bottom >= sheet.max_row, sheet.title
        columns = (sheet.column_dimensions[get_column_letter(column)] for column in range(1, right + 1))
        wide = sum(found.width for found in columns if not found.hidden)
        assert wide <= setup.fitToWidth * MOST_CHARACTERS, sheet.title
        assert "&A" in sheet.oddFooter.left.text and "&P" in sheet.oddFooter.right.text


def test_names_of_columns_are_seen_on_every_page_and_wherever_one_scrolls(book):
    for name in ("Best models", "All runs", "Speed and size", "By backbone", "Curves"):
        assert book[name].print_title_rows == "$1:$1" and book[name].freeze_panes == "B2"
    assert book["Comparison tiles"].print_title_rows is None, "its first row is a sentence"


def test_columns_for_programs_are_folded_and_what_people_choose_by_is_not(book):
    best = book["Best models"]
    assert {"image_AUROC", "image_AUROC_sd", "run_id", "checkpoint_bytes"} <= _hidden(best)
    assert not {"Model", "configuration", "image AUROC ±", "seeds", "dataset", "notes"} & _hidden(best)
    assert {"git_commit", "n_features", "image_AUROC"} <= _hidden(book["All runs"])
    assert not {"detector", "seed", "run_id", "notes"} & _hidden(book["All runs"])
    assert "protocol" in _hidden(best), "it is the same in all rows"
    for sheet in (best, book["All runs"]):
        levels = {c: d.outlineLevel for c, d in sheet.column_dimensions.items() if d.hidden}
        assert set(levels.values()) == {1} and sheet.sheet_format.outlineLevelCol == 1, "a click shows them"
        assert sheet.auto_filter.ref.startswith("A1:")


def test_numbers_are_told_with_their_deviation_beside_the_numbers_themselves(book):
    best, runs = book["Best models"], book["All runs"]
    columns = _header(best)
    row = next(row for row in best.iter_rows(min_row=2, values_only=True) if row[0] == "Patchcore")
    value, deviation = (row[columns[name] - 1] for name in ("image_AUROC", "image_AUROC_sd"))
    assert row[columns["image AUROC ±"] - 1] == f"{value:.3f} ± {deviation:.3f}" and 0.01 <= deviation < 0.0995
    columns = _header(runs)
    row = next(runs.iter_rows(min_row=2, values_only=True))
    ends = (row[columns[f"image_AUROC{end}"] - 1] for end in ("", "_low", "_high"))
    assert row[columns["image AUROC ±"] - 1] == "{:.2f} ({:.2f} to {:.2f})".format(*ends), "± 0.1"


def test_charts_show_the_numbers_of_folded_columns_and_stand_apart(book):
    charts = [*book["Best models"]._charts, *book["Speed and size"]._charts]
    assert len(charts) == 4 and not any(chart.visible_cells_only for chart in charts)
    assert all(chart.x_axis.delete is False for chart in charts)
    for name in ("Best models", "Speed and size"):
        places = [(chart.anchor._from.row, chart.anchor._from.col) for chart in book[name]._charts]
        assert len(set(places)) == 2 and min(places)[0] >= range_boundaries(book[name].auto_filter.ref)[3]


def test_the_answer_is_what_one_reads_first(book):
    assert book.sheetnames[:3] == ["Decision", "Winner", "Best models"]
    assert book["Decision"].cell(ANSWER, 1).value == "What to choose" and ANSWER == 2
    told = book["Decision"].cell(NEXT, 1).value
    assert "the sheet Winner" in told and "anomaly predict" in told


def test_the_winner_is_shown_with_its_hits_misses_and_false_alarms(book):
    sheet = book["Winner"]
    texts = [row[0] for row in sheet.iter_rows(max_col=1, values_only=True) if row[0]]
    assert texts[1].startswith("On boards: Padim (ResNet18 - 100 features), run padim-boards-")
    assert "Misses: it passes no defect of the test images." in texts and "Hits: defects that it finds" in texts
    assert len(sheet._images) == 2, "hits and false alarms"
    assert any("MATCH(1,'Decision models'" in text for text in texts), "whether it is still the one that is chosen"
    wide, narrow = (picture.anchor.ext.width / 9525 for picture in sheet._images)  # pixels
    assert 900 < wide < 1000 and narrow < wide / 3, "four fill the page, and one is as large as each of them"


@pytest.mark.slow
@pytest.mark.skipif(not SOFFICE, reason="LibreOffice is not here")
def test_the_winner_says_whether_the_costs_of_the_reader_choose_it_another_model_or_none(made, tmp_path):
    folder, _ = made
    yours = {name: f"{YOURS}{row}" for row, name in enumerate(QUESTIONS, FIRST_QUESTION)}
    entered = {
        "example": {},
        "another": {yours["group"]: "tiles: 64 × 64, conformal thresholds, 10% held out"},
        "nothing": {yours["group"]: "none of these"},
    }
    for name, cells in entered.items():
        workbook = openpyxl.load_workbook(folder / "w.xlsx")
        for place, value in cells.items():
            workbook["Decision"][place] = value
        workbook.save(tmp_path / f"{name}.xlsx")
    convert("xlsx:Calc MS Excel 2007 XML", [tmp_path / f"{name}.xlsx" for name in entered], tmp_path)
    said = {
        name: openpyxl.load_workbook(tmp_path / "out" / f"{name}.xlsx", data_only=True)["Winner"]["A4"].value
        for name in entered
    }
    assert said == {
        "example": "This is the model that the sheet Decision chooses.",
        "another": "For what is written there, the sheet Decision now chooses another model; see Examples.",
        "nothing": "For what is written there, the sheet Decision now chooses no model: the notes there say why.",
    }
    told = openpyxl.load_workbook(folder / "w.xlsx")["Winner"]["A5"].value
    assert "the example of a line" in told and "the yellow cells does not change them" in told


def test_quotes_in_the_name_of_a_sheet_do_not_end_the_text_of_a_formula(made):
    _, sheets = made
    candidates = next(sheet.candidates for sheet in sheets if sheet.name == "Decision")
    formula = next_formula(Book({WINNER: 'Our "best"'}, candidates))
    (text,) = [token.value for token in Tokenizer(formula).items if "look at" in token.value]
    assert text.startswith('"Next: look at its pictures in the sheet Our ""best"", then try it') and text[-1] == '"'
    assert literal('a "b"') == '"a ""b"""'


def test_a_winner_without_pictures_is_told(tmp_path):
    make_run(tmp_path, "padim-0", skill=3.0)
    (tmp_path / "runs" / "padim-0" / "examples" / "overview.png").unlink()
    assert read_examples(tmp_path / "runs" / "padim-0" / "examples") == {}
    write_workbook(tmp_path / "w.xlsx", _sheets(tmp_path))
    sheet = openpyxl.load_workbook(tmp_path / "w.xlsx")["Winner"]
    assert not sheet._images and "has no pictures on this machine" in sheet.cell(sheet.max_row, 1).value


def _again(made, tmp_path, change):
    """Write a workbook that somebody changed again."""
    folder, sheets = made
    workbook = openpyxl.load_workbook(folder / "w.xlsx")
    change(workbook)
    workbook.save(tmp_path / "w.xlsx")
    assert write_workbook(tmp_path / "w.xlsx", sheets) == []
    return openpyxl.load_workbook(tmp_path / "w.xlsx")


def test_what_people_unfold_or_print_stays_theirs(made, tmp_path):
    def change(workbook):
        sheet = workbook["Best models"]
        sheet.column_dimensions[get_column_letter(_header(sheet)["run_id"])].hidden = False
        sheet.print_area = "A1:C5"
        workbook["All runs"].page_setup.fitToWidth = 4
        workbook["Speed and size"].page_setup.orientation = "portrait"

    book = _again(made, tmp_path, change)
    assert "run_id" not in _hidden(book["Best models"]) and "image_AUROC" in _hidden(book["Best models"])
    assert book["Best models"].print_area.endswith("!$A$1:$C$5") and book["All runs"].page_setup.fitToWidth == 4
    assert book["Speed and size"].page_setup.orientation == "portrait"


def test_a_sheet_that_an_earlier_version_wrote_is_folded_and_printed_like_a_new_one(made, tmp_path):
    """What it did not set, nobody has set."""

    def change(workbook):
        known = written.load(workbook)
        sheet = workbook["Best models"]
        for found in sheet.column_dimensions.values():
            found.hidden, found.outlineLevel = False, 0
        sheet.page_setup.paperSize, sheet.print_area = None, None
        known["Best models"].folded, known["Best models"].area, known["Best models"].pages = [], "", 0
        written.store(workbook, known)

    best = _again(made, tmp_path, change)["Best models"]
    assert "image_AUROC_sd" in _hidden(best) and best.print_area and str(best.page_setup.paperSize) == "9"


def test_what_people_wrote_where_a_sentence_now_reaches_over_is_kept(made, tmp_path):
    def change(workbook):
        sheet = workbook["Decision"]
        sheet.unmerge_cells(f"A{ANSWER + 2}:I{ANSWER + 2}")
        sheet.cell(ANSWER + 2, 6).value = "agreed in June"

    book = _again(made, tmp_path, change)
    assert [row[3] for row in book["Kept notes"].iter_rows(min_row=2, values_only=True)] == ["agreed in June"]

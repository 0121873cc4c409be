import io

import numpy as np
import openpyxl
import pandas as pd
import pytest
from helpers.office import SOFFICE, convert
from helpers.results import make_results

from training_code.comparison.table import runs_table
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.reporting.sheets import Sheet, all_sheets, compare
from training_code.reporting.workbook import write_workbook


def _table():
    return pd.DataFrame(
        {
            "Model": ["Padim", "=1+1", "+1", "-1", "@x\x1b[31m"],
            "image_AUROC": [0.123456789, np.nan, 1.0, 0.5, np.inf],
            "checkpoint_bytes": np.array([1234567, 8, 9, 10, 11]),
            "pretrained": [True, False, True, True, True],
            "run_id": list("abcde"),
        }
    )


def _write(path, table=None, name="All runs"):
    write_workbook(path, [Sheet(name, _table() if table is None else table, key="run_id")])
    return openpyxl.load_workbook(path)


def _edit(path, change):
    workbook = openpyxl.load_workbook(path)
    change(workbook)
    workbook.save(path)


@pytest.fixture
def real(tmp_path):
    """The workbook of 18 runs on two datasets."""
    make_results(tmp_path / "results", datasets=("tiles", "boards"))
    runs, problems = read_records(tmp_path / "results")
    write_workbook(tmp_path / "w.xlsx", all_sheets(compare(runs_table(runs), problems), tmp_path / "results"))
    return tmp_path / "w.xlsx"


def test_every_number_is_a_number_with_a_format(tmp_path):
    sheet = _write(tmp_path / "w.xlsx")["All runs"]
    assert sheet["B2"].value == 0.123456789 and sheet["B2"].number_format.startswith("0.000")
    assert sheet["C2"].value == 1234567 and sheet["C2"].number_format.startswith("#,##0")
    assert sheet["D2"].value is True
    assert sheet["B3"].value is None, "what is missing is blank"
    assert sheet["B6"].value == "inf", "a spreadsheet has no such number"


def test_text_that_looks_like_a_formula_is_text(tmp_path):
    sheet = _write(tmp_path / "w.xlsx")["All runs"]
    for row, text in ((3, "=1+1"), (4, "+1"), (5, "-1"), (6, "@x[31m")):
        assert sheet.cell(row, 1).value == text and sheet.cell(row, 1).data_type == "s"


def test_sheets_can_be_read_comfortably(tmp_path):
    sheet = _write(tmp_path / "w.xlsx")["All runs"]
    assert sheet.freeze_panes == "B2" and sheet.auto_filter.ref == "A1:F6"
    assert sheet.column_dimensions["B"].width > len("image_AUROC")
    assert "Area under the ROC curve" in sheet["B1"].comment.text


def test_links_lead_from_the_workbook_to_the_files(tmp_path):
    table = _table().assign(notebook=str(tmp_path / "results" / "a b" / "notebook.ipynb"))
    sheet = _write(tmp_path / "books" / "w.xlsx", table)["All runs"]
    assert sheet["F2"].hyperlink.target == "../results/a%20b/notebook.ipynb"


@pytest.mark.parametrize("lock", ["~$w.xlsx", ".~lock.w.xlsx#"])
def test_a_workbook_that_is_open_elsewhere_is_left_alone(tmp_path, lock):
    (tmp_path / lock).touch()
    with pytest.raises(InputError, match="is open in a spreadsheet program"):
        _write(tmp_path / "w.xlsx")
    assert not (tmp_path / "w.xlsx").exists()


def test_a_file_that_is_no_workbook_is_left_alone(tmp_path):
    (tmp_path / "w.xlsx").write_text("precious")
    with pytest.raises(InputError, match="no workbook that can be read"):
        _write(tmp_path / "w.xlsx")
    assert (tmp_path / "w.xlsx").read_text() == "precious"


def test_notes_stay_with_their_runs(tmp_path):
    path = tmp_path / "w.xlsx"
    notes = [cell.value for cell in _write(path)["All runs"][1]].index("notes") + 1

    def write(workbook):
        workbook["All runs"].cell(3, notes, "good on scratches")
        workbook["All runs"].cell(4, notes, "ask again")

    _edit(path, write)
    workbook = _write(path, _table().iloc[[3, 1, 0]])  # other rows in another order; run c is gone
    rows = {row[4]: row[notes - 1] for row in workbook["All runs"].iter_rows(min_row=2, values_only=True)}
    assert rows == {"d": None, "b": "good on scratches", "a": None}
    kept = list(workbook["Kept notes"].iter_rows(min_row=2, values_only=True))
    assert kept == [("All runs", "c", "notes", "ask again")]
    workbook = _write(path)  # run c is back
    assert {row[4]: row[notes - 1] for row in workbook["All runs"].iter_rows(min_row=2, values_only=True)}["c"] == (
        "ask again"
    )
    assert "Kept notes" not in workbook.sheetnames


def test_columns_of_people_and_the_order_of_columns_stay(tmp_path):
    path = tmp_path / "w.xlsx"
    _write(path)

    def change(workbook):
        sheet = workbook["All runs"]
        sheet.insert_cols(1)
        sheet["A1"], sheet["A2"] = "owner", "us"
        sheet.move_range("C1:C6", rows=0, cols=20)  # image_AUROC behind everything

    _edit(path, change)
    sheet = _write(path, _table().assign(image_AUPR=0.5))["All runs"]
    header = [cell.value for cell in sheet[1]]
    assert header[:2] == ["owner", "Model"] and sheet["A2"].value == "us"
    assert header.index("image_AUROC") > header.index("run_id") and "image_AUPR" in header


def test_sheets_of_people_stay_even_under_our_names(tmp_path):
    path = tmp_path / "w.xlsx"
    _write(path)

    def change(workbook):
        workbook.create_sheet("Plan")["B2"] = "=SUM(1,2)"
        workbook.create_sheet("Failed")["A1"] = "mine"

    _edit(path, change)
    workbook = _write(path, name="Failed")
    assert workbook["Plan"]["B2"].value == "=SUM(1,2)" and workbook["Failed"]["A1"].value == "mine"
    assert workbook["Failed auto"]["A2"].value == "Padim"
    assert _write(path, name="Failed").sheetnames == workbook.sheetnames, "again and again the same"


def _opens_on(path):
    """Return the sheet on which a workbook opens, and those that are selected."""
    workbook = openpyxl.load_workbook(path)
    return workbook.active.title, [sheet.title for sheet in workbook.worksheets if sheet.sheet_view.tabSelected]


def _write_again(path):
    runs, problems = read_records(path.parent / "results")
    write_workbook(path, all_sheets(compare(runs_table(runs), problems), path.parent / "results"))


def test_a_new_workbook_opens_on_the_answer(real):
    assert _opens_on(real) == ("Decision", ["Decision"])


@pytest.mark.slow
def test_a_workbook_without_the_answer_opens_on_it(tmp_path):
    make_results(tmp_path / "results", seeds=(0,))
    small = tmp_path / "w.xlsx"
    _write_again(small)

    def forget(workbook):
        for name in ("Decision", "Winner", "Decision models", "Curves"):
            workbook.remove(workbook[name])
        workbook.active = workbook["Best models"]
        workbook.views[0].firstSheet = 1
        for sheet in workbook.worksheets[:2]:
            sheet.sheet_view.tabSelected = True

    _edit(small, forget)
    _write_again(small)
    assert openpyxl.load_workbook(small).sheetnames[0] == "Decision"
    assert _opens_on(small) == ("Decision", ["Decision"])
    assert openpyxl.load_workbook(small).views[0].firstSheet == 0, "its tab is seen"


@pytest.mark.slow
def test_a_workbook_opens_where_people_left_it(tmp_path):
    make_results(tmp_path / "results", seeds=(0,))
    small = tmp_path / "w.xlsx"
    _write_again(small)

    def choose(workbook):
        workbook.active = workbook["All runs"]
        workbook["Best models"].sheet_view.tabSelected = True

    _edit(small, choose)
    _write_again(small)
    assert _opens_on(small) == ("All runs", ["All runs"])


def test_the_best_is_marked_and_charts_and_pictures_are_there(real):
    workbook = openpyxl.load_workbook(real)
    best = workbook["Best models"]
    shown, raw = _column(best, "image AUROC ±"), _column(best, "image_AUROC")
    assert best["A2"].value == "Padim" and [best.cell(2, column).font.b for column in (shown, raw)] == [True, True]
    assert not best.cell(4, shown).font.b
    assert len(best._charts) == 2 and len(workbook["Speed and size"]._charts) == 2
    assert len(workbook["Examples"]._images) == 6
    for name in ("By backbone", "By dataset", "By defect type", "Hyper-parameters"):
        cells = [cell for row in workbook[name].iter_rows(min_row=2) for cell in row if isinstance(cell.value, float)]
        assert name == "Hyper-parameters" or cells
        assert all(cell.number_format.startswith("0.0") for cell in cells), name
    blocks = workbook["Comparison tiles"]
    rows = {row[0]: row[1] for row in blocks.iter_rows(values_only=True) if row[0]}
    assert rows["Padim"] == "ResNet18 - 100 features" and "image_AUROC" in rows


def test_half_a_workbook_is_never_seen(tmp_path, monkeypatch):
    path = tmp_path / "w.xlsx"
    _write(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openpyxl.Workbook, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        _write(path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["w.xlsx"]


@pytest.mark.slow
@pytest.mark.skipif(not SOFFICE, reason="LibreOffice is not here")
def test_libreoffice_opens_it_without_repair_and_reads_the_same_numbers(real, tmp_path):
    convert("pdf", [real], tmp_path)
    assert (tmp_path / "out" / "w.pdf").stat().st_size > 10_000
    # In UTF-8, and the third sheet.
    convert("csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,3", [real], tmp_path)
    read = pd.read_csv(io.StringIO((tmp_path / "out" / "w-Best models.csv").read_text()))
    expected = pd.read_excel(real, sheet_name="Best models")
    assert read["Model"].tolist()[: len(expected)] == expected["Model"].tolist()
    shown = read["image_AUROC"].astype(float)[: expected["image_AUROC"].notna().sum()]
    assert np.abs(shown - expected["image_AUROC"].dropna()).max() <= 0.0005
    # Saved by LibreOffice, our sheets are still known as ours, and what was written into them is kept.
    convert("xlsx:Calc MS Excel 2007 XML", [real], tmp_path)
    saved = tmp_path / "out" / "w.xlsx"
    _edit(saved, lambda workbook: workbook["All runs"].cell(2, _column(workbook["All runs"], "notes"), "kept"))
    runs, problems = read_records(tmp_path / "results")
    write_workbook(saved, all_sheets(compare(runs_table(runs), problems), tmp_path / "results"))
    again = openpyxl.load_workbook(saved)
    assert again.sheetnames == openpyxl.load_workbook(real).sheetnames
    assert again["All runs"].cell(2, _column(again["All runs"], "notes")).value == "kept"


def _column(sheet, name):
    return [cell.value for cell in sheet[1]].index(name) + 1

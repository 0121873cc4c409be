import numpy as np
import openpyxl
import pandas as pd
import pytest

from training_code.comparison.workbook import write_workbook
from training_code.errors import InputError

TABLE = pd.DataFrame(
    {
        "Model": ["Padim", "=1+1"],
        "image_AUROC": [0.123456789, np.nan],
        "checkpoint_bytes": np.array([1234567, 8]),
        "pretrained": [True, False],
        "note": [None, "@x\x1b[31m"],
    }
)


@pytest.fixture
def sheet(tmp_path):
    write_workbook(tmp_path / "w.xlsx", {"All runs": TABLE, "Empty": TABLE[:0]})
    return openpyxl.load_workbook(tmp_path / "w.xlsx")["All runs"]


def test_every_number_is_a_number_with_a_format(sheet):
    assert sheet["B2"].value == 0.123456789 and sheet["B2"].number_format == "0.000"
    assert sheet["C2"].value == 1234567 and sheet["C2"].number_format == "#,##0"
    assert sheet["D2"].value is True


def test_what_is_missing_is_blank(sheet):
    assert sheet["B3"].value is None and sheet["E2"].value is None


def test_text_that_looks_like_a_formula_is_text(sheet):
    assert sheet["A3"].value == "=1+1" and sheet["A3"].data_type == "s"
    assert sheet["E3"].value == "@x[31m", "control characters would break the file"


def test_sheets_can_be_read_comfortably(sheet):
    assert sheet.freeze_panes == "B2" and sheet.auto_filter.ref == "A1:E3"
    assert sheet.column_dimensions["B"].width > len("image_AUROC")


@pytest.mark.parametrize("lock", ["~$w.xlsx", ".~lock.w.xlsx#"])
def test_a_workbook_that_is_open_elsewhere_is_left_alone(tmp_path, lock):
    (tmp_path / lock).touch()
    with pytest.raises(InputError, match="is open in a spreadsheet program"):
        write_workbook(tmp_path / "w.xlsx", {"All runs": TABLE})
    assert not (tmp_path / "w.xlsx").exists()

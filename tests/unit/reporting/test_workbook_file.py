"""Nothing of a workbook is dropped without a copy and a word, and nobody's file is written over."""

import io
import os
import re
import zipfile

import openpyxl
import pandas as pd
import pytest

from training_code.foundation.errors import InputError
from training_code.reporting import workbook_file
from training_code.reporting.export import write_export
from training_code.reporting.sheets import Sheet
from training_code.reporting.workbook import write_workbook

DRAWING = """<xdr:wsDr xmlns:xdr="http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing"
xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><xdr:twoCellAnchor><xdr:from><xdr:col>1</xdr:col>
<xdr:colOff>0</xdr:colOff><xdr:row>1</xdr:row><xdr:rowOff>0</xdr:rowOff></xdr:from><xdr:to><xdr:col>3</xdr:col>
<xdr:colOff>0</xdr:colOff><xdr:row>4</xdr:row><xdr:rowOff>0</xdr:rowOff></xdr:to><xdr:sp macro="" textlink="">
<xdr:nvSpPr><xdr:cNvPr id="2" name="TextBox 1"/><xdr:cNvSpPr txBox="1"/></xdr:nvSpPr><xdr:spPr/><xdr:txBody>
<a:bodyPr/><a:p><a:r><a:t>order lamps</a:t></a:r></a:p></xdr:txBody></xdr:sp><xdr:clientData/></xdr:twoCellAnchor>
</xdr:wsDr>"""
RELATION = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/drawing" '
    'Target="/xl/drawings/drawing1.xml"/></Relationships>'
)
EXTENSION = (
    '<extLst><ext xmlns:x14="http://schemas.microsoft.com/office/spreadsheetml/2009/9/main" '
    'uri="{05C60535-1F16-4fd2-B633-F4F36F0B64E0}"><x14:sparklineGroups/></ext></extLst></worksheet>'
)
# Parts that programs write and openpyxl drops, and the word by which people know them.
PARTS = {
    "xl/vbaProject.bin": "macros",
    "xl/slicers/slicer1.xml": "slicers",
    "xl/slicerCaches/slicerCache1.xml": "slicers",
    "xl/timelines/timeline1.xml": "timelines",
    "xl/threadedComments/threadedComment1.xml": "threads of comments",
    "xl/ctrlProps/ctrlProp1.xml": "buttons",
    "xl/activeX/activeX1.xml": "buttons",
    "xl/embeddings/oleObject1.bin": "embedded objects",
    "xl/diagrams/data1.xml": "diagrams",
    "xl/charts/style1.xml": "styles of charts",
    "xl/charts/chartEx1.xml": "charts of kinds that are too new",
    "customXml/item1.xml": "custom XML",
    "xl/connections.xml": "connections to data",
    "xl/queryTables/queryTable1.xml": "connections to data",
    "xl/richData/rdrichvalue.xml": "pictures and data types",
    "_xmlsignatures/sig1.xml": "signatures",
    "xl/pivotTables/pivotTable1.xml": "pivot tables",
    "xl/invented/part1.xml": "xl/invented/part1.xml",
}


def _sheet(name="All runs"):
    return Sheet(name, pd.DataFrame({"Model": ["Padim", "Cflow"], "run_id": ["a", "b"]}), key="run_id")


def _edit_zip(path, change):
    """Write a workbook again with parts changed: ``change`` is given all of them by their names."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _copies(folder):
    return list(folder.glob("w.before-*.xlsx"))


@pytest.fixture
def book(tmp_path):
    """A workbook with a sheet of ours and, as its first one, a sheet of theirs."""
    path = tmp_path / "w.xlsx"
    write_workbook(path, [_sheet()])
    workbook = openpyxl.load_workbook(path)
    workbook.create_sheet("Plan", 0)["A1"] = "mine"
    workbook.save(path)
    return path


@pytest.mark.parametrize("part", PARTS)
def test_parts_that_cannot_be_kept_are_named_and_in_a_copy(book, part):
    _edit_zip(book, lambda parts: parts.update({part: b"<a/>"}))
    before = book.read_bytes()
    told = write_workbook(book, [_sheet()])
    (copy,) = _copies(book.parent)
    assert copy.read_bytes() == before and copy.name in told[0] and any(PARTS[part] in line for line in told[1:])
    assert write_workbook(book, [_sheet()]) == [] and len(_copies(book.parent)) == 1, "once, not each time"


def test_a_text_box_on_a_sheet_of_theirs_is_named_by_its_text(book):
    def add(parts):
        parts["xl/drawings/drawing1.xml"] = DRAWING.encode()
        parts["xl/worksheets/_rels/sheet1.xml.rels"] = RELATION.encode()
        sheet = parts["xl/worksheets/sheet1.xml"].decode()
        space = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
        parts["xl/worksheets/sheet1.xml"] = sheet.replace(
            "</worksheet>", f'<drawing {space} r:id="rId1"/></worksheet>'
        ).encode()
        types = parts["[Content_Types].xml"].decode()
        kind = "application/vnd.openxmlformats-officedocument.drawing+xml"
        override = f'<Override PartName="/xl/drawings/drawing1.xml" ContentType="{kind}"/></Types>'
        parts["[Content_Types].xml"] = types.replace("</Types>", override).encode()

    _edit_zip(book, add)
    told = write_workbook(book, [_sheet()])
    assert "- a text box: 'order lamps'" in told and len(_copies(book.parent)) == 1


def test_what_sheets_hold_that_is_dropped_is_named(book):
    def add(parts):
        sheet = parts["xl/worksheets/sheet1.xml"].decode()
        parts["xl/worksheets/sheet1.xml"] = sheet.replace("</worksheet>", EXTENSION).encode()

    _edit_zip(book, add)
    assert "- sparklines" in write_workbook(book, [_sheet()]) and len(_copies(book.parent)) == 1


def test_a_color_whose_row_is_gone_is_in_the_copy(book):
    workbook = openpyxl.load_workbook(book)
    workbook["All runs"]["A2"].fill = openpyxl.styles.PatternFill("solid", fgColor="FFFF00")
    workbook.save(book)
    (told,) = write_workbook(book, [Sheet("All runs", _sheet().table.iloc[1:], key="run_id")])[1:]
    assert "All runs!A2 (a)" in told
    (copy,) = _copies(book.parent)
    assert openpyxl.load_workbook(copy)["All runs"]["A2"].fill.fgColor.rgb == "00FFFF00"


def test_a_workbook_without_its_hidden_sheet_is_copied_before_it_is_made_again(book):
    workbook = openpyxl.load_workbook(book)
    workbook.remove(workbook["training_code"])
    workbook["All runs"]["D1"], workbook["All runs"]["D3"] = "owner", "us"
    workbook.save(book)
    told = write_workbook(book, [_sheet()])
    assert "earlier version" in told[1] and len(_copies(book.parent)) == 1
    sheet = openpyxl.load_workbook(book)["All runs"]
    assert [cell.value for cell in sheet["D"]] == ["owner", None, "us"] and sheet["A2"].value == "Padim"
    assert openpyxl.load_workbook(book).sheetnames == ["Plan", "All runs", "training_code"]
    assert write_workbook(book, [_sheet()]) == []


def test_what_somebody_saves_meanwhile_is_kept(book, monkeypatch):
    saves = []
    real = workbook_file.find_losses

    def somebody_saves(before, after):
        if not saves:
            workbook = openpyxl.load_workbook(io.BytesIO(before))
            workbook["Plan"]["A2"] = "late"
            saves.append(workbook.save(book))
        return real(before, after)

    monkeypatch.setattr(workbook_file, "find_losses", somebody_saves)
    write_workbook(book, [_sheet()])
    assert openpyxl.load_workbook(book)["Plan"]["A2"].value == "late"


def test_a_workbook_that_is_saved_again_and_again_is_left_alone(book, monkeypatch):
    def somebody_saves(before, after):
        book.write_bytes(before + b"\0")
        return []

    monkeypatch.setattr(workbook_file, "find_losses", somebody_saves)
    with pytest.raises(InputError, match="saved by somebody else"):
        write_workbook(book, [_sheet()])
    assert [file.name for file in book.parent.iterdir()] == ["w.xlsx"]


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "share").mkdir()
    link, target = tmp_path / "w.xlsx", tmp_path / "share" / "real.xlsx"
    link.symlink_to("share/real.xlsx")
    for _ in range(2):  # where it leads to nothing yet, and where there is a workbook
        write_workbook(link, [_sheet()])
        assert link.is_symlink() and openpyxl.load_workbook(target)["All runs"]["A2"].value == "Padim"
    assert os.listdir(tmp_path / "share") == ["real.xlsx"]


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "w.xlsx").symlink_to("w.xlsx")
    with pytest.raises(InputError, match="leads nowhere"):
        write_workbook(tmp_path / "w.xlsx", [_sheet()])


def test_the_mode_of_the_file_stays(book):
    book.chmod(0o640)
    write_workbook(book, [_sheet()])
    assert book.stat().st_mode & 0o777 == 0o640


def test_a_read_only_workbook_is_left_alone(book):
    book.chmod(0o444)
    before = book.read_bytes()
    with pytest.raises(InputError, match="is read-only"):
        write_workbook(book, [_sheet()])
    assert book.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("w.csv", "--format"), ("w.xls", "--format"), ("w", "--format"), ("w.xlsm", "macros"), ("d.xlsx", "folder")],
)
def test_files_that_are_no_workbooks_are_refused(tmp_path, name, words):
    (tmp_path / "d.xlsx").mkdir()
    with pytest.raises(InputError, match=words):
        write_workbook(tmp_path / name, [_sheet()])
    assert os.listdir(tmp_path) == ["d.xlsx"]


def test_what_was_written_is_kept_out_of_sight(book):
    assert openpyxl.load_workbook(book)["training_code"].sheet_state == "veryHidden"
    with zipfile.ZipFile(book) as archive:
        assert re.search(rb'name="training_code"[^>]*veryHidden', archive.read("xl/workbook.xml"))


def test_a_sheet_of_theirs_with_the_name_of_the_hidden_one_stays(tmp_path):
    path = tmp_path / "w.xlsx"
    workbook = openpyxl.Workbook()
    workbook.active.title = "training_code"
    workbook.active["A1"] = "mine"
    workbook.save(path)
    for _ in range(2):
        assert write_workbook(path, [_sheet()]) == []
        assert openpyxl.load_workbook(path)["training_code"]["A1"].value == "mine"
    assert len(openpyxl.load_workbook(path).sheetnames) == 3


@pytest.mark.parametrize("place", ["XFD3", "A1048576", "XFD1048576"])
def test_the_farthest_cells_are_kept(book, place):
    workbook = openpyxl.load_workbook(book)
    workbook["All runs"][place] = "far"
    workbook.save(book)
    table = _sheet().table
    more = pd.concat([table, table.assign(run_id=["c", "d"])]).assign(seed=1)
    assert write_workbook(book, [Sheet("All runs", more, key="run_id")]) == []
    assert "far" in {cell.value for cell in openpyxl.load_workbook(book)["All runs"]._cells.values()}


@pytest.mark.parametrize("name", ["w.xlsx", "d"])
def test_no_table_is_exported_over_a_workbook_or_a_folder(tmp_path, name):
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="is the name of a workbook|is a folder"):
        write_export(b"a,b", tmp_path / name)


def test_an_export_goes_where_a_link_leads(tmp_path):
    (tmp_path / "a.csv").symlink_to("b.csv")
    write_export(b"a,b", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").is_symlink() and (tmp_path / "b.csv").read_bytes() == b"a,b"

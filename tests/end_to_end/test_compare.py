"""The comparison as a command: notebook, workbook, printed table and report of the same runs."""

import html
import io
import re
import subprocess
import sys
import zipfile

import nbformat
import openpyxl
import pandas as pd
import pytest
from helpers.results import DETECTORS, make_demo, make_results, make_run

from training_code.comparison.uncertainty import with_deviation
from training_code.foundation import paths


def _compare(*options):
    command = [sys.executable, "-m", "training_code.compare", *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Results with a damaged and an old record, and what the command says of them."""
    folder = tmp_path_factory.mktemp("compare")
    results = folder / "results"
    make_results(results, datasets=("tiles", "boards"))
    make_demo(results, (0, 1, 2))
    make_run(results, "bad", status="failed", metrics={}, times={}, error="=cmd()")
    for name, content in (("old", '{"schema_version": 1}'), ("half", '{"run_id": "x", "sta')):
        (results / "runs" / name).mkdir()
        (results / "runs" / name / "run.json").write_text(content)
    status, output, errors = _compare("--results", results, "--output", folder / "w.xlsx", "--report")
    assert status == 0, output + errors
    return folder, output, errors


def test_records_that_cannot_be_read_are_told_and_cost_nothing(compared):
    folder, _, errors = compared
    assert errors.count("not read:") == 2 and "schema version 1" in errors and "is damaged" in errors
    failed = pd.read_excel(folder / "w.xlsx", sheet_name="Failed")
    assert failed["status"].tolist() == ["failed", "not read", "not read"] and failed["error"][0] == "=cmd()"
    assert len(pd.read_excel(folder / "w.xlsx", sheet_name="All runs")) == 52


def test_printed_table_notebook_workbook_and_export_agree(compared):
    folder, output, _ = compared
    sheet = pd.read_excel(folder / "w.xlsx", sheet_name="Best models").dropna(subset=["run_id"])
    metrics = ["image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score"]
    expected = [
        [row["Model"], row["dataset"], *(with_deviation(row[name], row[f"{name}_sd"]) for name in metrics)]
        for _, row in sheet.iterrows()
    ]
    assert len(expected) == 12
    printed, heading = [], ""
    for line in output.splitlines():
        heading = line if line.endswith(":") else heading
        printed += [(heading, line)] if "±" in line else []
    for (heading, line), (model, dataset, *values) in zip(printed, expected, strict=True):
        assert heading.startswith(f"{dataset}, ")
        assert line.split()[0] == model and all(value in line for value in values)
    notebook = nbformat.read(folder / "results" / "30_results.ipynb", as_version=4)
    outputs = [item for cell in notebook.cells for item in cell.get("outputs", [])]
    pages = [item.get("data", {}).get("text/html", "") for item in outputs]
    (page,) = [page for page in pages if "±" in page]
    cells = [html.unescape(cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.S)]
    for model, dataset, *values in expected:
        assert all(value in cells for value in (model, dataset, *values))
    status, exported, _ = _compare("--results", folder / "results", "--format", "csv")
    assert status == 0
    exported = pd.read_csv(io.StringIO(exported))
    pd.testing.assert_frame_equal(exported[metrics], sheet[metrics].reset_index(drop=True), atol=1e-12)


def test_the_terminal_ends_with_the_answer_for_each_dataset(compared):
    folder, output, _ = compared
    candidates = pd.read_excel(folder / "w.xlsx", sheet_name="Decision models")
    *_, head, first, second, third = output.splitlines()
    assert head.startswith("the sheet Decision, for the example of a line (1% of the parts defective,")
    said = [first, second, third]
    assert sorted(line.partition(":")[0] for line in said) == ["On boards", "On d", "On tiles"]
    for line in said:
        run = re.search(r", run ([\w-]+)[,.]", line)[1]
        model = candidates[candidates["run_id"] == run].iloc[0]
        assert model["dataset"] == line.split(":")[0].removeprefix("On ") and model["named"] in line and "a day" in line


def test_the_report_needs_nothing_from_elsewhere(compared):
    folder, _, _ = compared
    page = (folder / "results" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 8 and "±" in page
    assert not re.findall(r"""(?:src|href)=["']https?:""", page) and "@import" not in page
    assert "import runs_table" not in page, "no code"
    assert page.count('<div class="decision"') == 1 and "<select name=" in page, "numbers that a reader can change"


def test_links_of_the_workbook_lead_to_files_that_are_there(compared):
    folder, _, _ = compared
    sheet = openpyxl.load_workbook(folder / "w.xlsx")["All runs"]
    targets = [cell.hyperlink.target for row in sheet.iter_rows(min_row=2) for cell in row if cell.hyperlink]
    assert targets and all((folder / target).exists() for target in targets)


def test_names_from_strangers_are_text_everywhere(tmp_path):
    for number, name in enumerate(("=1+1", "<b>bold</b>", "-x")):
        make_run(tmp_path / "results", f"r{number}", dataset=name)
        make_run(tmp_path / "results", f"s{number}", dataset=name, arguments=DETECTORS["Padim"] | {"n_features": 7})
    status, output, errors = _compare("--results", tmp_path / "results", "--output", tmp_path / "w.xlsx", "--report")
    assert status == 0, output + errors
    workbook = openpyxl.load_workbook(tmp_path / "w.xlsx")
    cells = [cell for sheet in workbook for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
    ours = re.compile(r"=(IF|IFERROR)\(.*\)|=\$E\$20\*(\(1-\$E\$17\)\*\$E\$18|\$E\$17\*\$E\$19)")
    assert {cell.parent.title for cell in cells} == {"Decision", "Winner", "Decision models", "Curves"}
    assert all(ours.fullmatch(cell.value) and "1+1" not in cell.value for cell in cells)
    assert "=1+1" in [cell.value for row in workbook["All runs"].iter_rows() for cell in row]
    page = (tmp_path / "results" / "report.html").read_text()
    assert "<b>bold</b>" not in page and "&lt;b&gt;bold&lt;/b&gt;" in page and "&amp;lt;b&amp;gt;" not in page


def test_what_could_not_be_kept_is_told_and_where_it_is(tmp_path):
    make_run(tmp_path / "results", "r")
    options = ("--results", tmp_path / "results", "--output", tmp_path / "w.xlsx")
    assert _compare(*options)[0] == 0
    with zipfile.ZipFile(tmp_path / "w.xlsx", "a") as archive:
        archive.writestr("xl/slicers/slicer1.xml", "<slicers/>")
    status, output, errors = _compare(*options)
    (copy,) = tmp_path.glob("w.before-*.xlsx")
    assert status == 0 and copy.name in output and "- slicers" in output, output + errors


def test_wrong_choices_are_one_line_and_status_2(compared, tmp_path):
    folder, _, _ = compared
    for options, words in (
        (["--criterion", "AUROC"], "unknown criterion 'AUROC'"),
        (["--dataset", "tile"], "unknown dataset 'tile' (did you mean 'tiles'?)"),
        (["--format", "xml"], "unknown format 'xml'"),
        (["--format", "parquet"], "--output FILE says where"),
        (["--output", tmp_path / "x.csv"], f"{tmp_path / 'x.csv'} is no name of a workbook"),
        (["--output", tmp_path / "x.xlsm"], f"{tmp_path / 'x.xlsm'}: macros cannot be kept"),
    ):
        status, output, errors = _compare("--results", folder / "results", *options)
        assert status == 2 and not output, output
        assert errors.splitlines()[-1].startswith(f"error: {words}") or words in errors.splitlines()[-1]
    status, _, errors = _compare("--results", tmp_path)
    assert (
        status == 2 and "holds no finished runs; run a notebook, or anomaly sweep sweeps/boards.yaml, first" in errors
    )

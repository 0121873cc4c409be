"""The site: every page is there, every link leads somewhere, and nothing is asked of other servers."""

import html
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import openpyxl
import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.records import make_dataset, make_record
from helpers.repository import project_files
from helpers.results import make_few, make_labelled, make_results

from training_code.comparison.table import runs_table
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.records.reading import read_records, write_record
from training_code.reporting.column_help import help_for
from training_code.reporting.kept_notes import Kept, kept_sheet
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook

# Seconds in which the site is there; it takes 10 on two cores.
LONGEST = 60
#: What our own runs show: a table of pandas, and a picture that is in the page.
HARMLESS = (
    '<table class="dataframe"><tr style="text-align: right;"><th>metric</th><td>0.914</td></tr></table>'
    '<img alt="predictions" style="max-width: 100%;" src="data:image/png;base64,iVBORw0KGgo=">'
)
STRANGERS = "<script>alert(1)</script>|[x](javascript:alert(2))"
HARMFUL = (
    "<script>alert(5)</script>",
    "<img src=x onerror=alert(6)>",
    '<a href="javascript:alert(7)">a link</a>',
    '<a href="data:text/html,alert(8)">a link</a>',
    '<svg onload="alert(9)"></svg>',
    '<iframe srcdoc="alert(10)"></iframe>',
    '<img src="data:image/svg+xml;base64,iVBORw0KGgo=" alt="alert">',
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess:
    """Build the site of a copy of the repository, as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(paths.ROOT)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site with one run that a sweep has executed, of somebody who would like to speak in the site's name."""
    run = make_record(dataset=make_dataset(STRANGERS))
    folder = paths.RESULTS / "runs" / run.run_id
    folder.mkdir(parents=True)
    outputs = [nbformat.v4.new_output("stream", text="an output of the run")]
    outputs += [nbformat.v4.new_output("display_data", {"text/html": text}) for text in (HARMLESS, *HARMFUL)]
    sized = {"image/png": {"width": "1 onload=alert(3)"}}
    outputs.append(nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata=sized))
    outputs.append(nbformat.v4.new_output("display_data", {"application/javascript": "alert(4)"}))
    cells = [nbformat.v4.new_code_cell("1 + 1", outputs=outputs)]
    cells += [
        nbformat.v4.new_markdown_cell(text) for text in (f"# A heading\n\n{HARMFUL[0]}", "![a](../../secret.png)")
    ]
    cells.append(nbformat.v4.new_raw_cell(HARMFUL[0], metadata={"raw_mimetype": "text/html"}))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebook.ipynb")
    write_record(folder, run)
    site = tmp_path_factory.mktemp("site")
    begun = time.monotonic()
    built = build(paths.ROOT, site)
    seconds = time.monotonic() - begun
    shutil.rmtree(folder)
    assert built.returncode == 0, built.stderr
    assert seconds < LONGEST
    return site


def test_there_is_a_page_for_each_detector_with_its_arguments_and_its_cells(site):
    pages = {path.stem: path.read_text() for path in (site / "docs" / "detectors").glob("*.html")}
    assert set(pages) == {spec.path.split(".")[2] for spec in DETECTORS.values()}
    for spec in DETECTORS.values():
        text = re.sub(r"<[^>]+>", "", pages[spec.path.split(".")[2]])
        assert all(name in text for name in spec.all_arguments)
        assert re.search(rf"experiment\.run\(\s*{spec.name}\b", text)
    assert "Lee, Lee, Song" in pages["cfa"], "the paper is named by the docstring of the class"


def test_the_list_of_detectors_leads_to_their_pages(site):
    text = (site / "docs" / "detectors.html").read_text()
    assert {spec.path.split(".")[2] for spec in DETECTORS.values()} <= set(re.findall(r'"detectors/(\w+)\.html"', text))


def test_the_columns_of_the_workbook_have_the_meaning_that_its_comments_have(site):
    text = (site / "docs" / "sheets.html").read_text()
    for shown, column in (
        ("image_AUROC…", "image_AUROC"),
        ("level_with_best", "level_with_best"),
        ("image_…_sd</code>, <code>pixel_…_sd", "pixel_AUPRO_sd"),
        ("fit_s</code>, <code>test_s", "test_s"),
        ("sheet</code>, <code>row</code>, <code>column</code>, <code>text", "text"),
    ):
        assert f"<td><code>{shown}</code></td>\n<td>{html.escape(help_for(column), quote=False)}</td>" in text
    assert not re.search(r"<code>[^<]*[\\(|][^<]*</code></?(td|,)", text), "names as people read them, no patterns"


def test_every_sheet_and_column_of_the_program_is_explained(site, tmp_path):
    make_results(tmp_path, datasets=("tiles",))
    make_labelled(tmp_path, (5, 20), dataset="gears")
    make_few(tmp_path)
    runs, problems = read_records(tmp_path)
    sheets = all_sheets(compare(runs_table(runs), problems), tmp_path)
    workbook = tmp_path / "w.xlsx"
    write_workbook(workbook, [*sheets, kept_sheet([Kept("All runs", "a run", "notes", "a word")])])
    page = html.unescape(re.sub(r"<(?!dataset)[^>]+>", "", (site / "docs" / "sheets.html").read_text()))
    headings = re.findall(r"<h2 id=[^>]+>(.*?)<a", (site / "docs" / "sheets.html").read_text())
    explained = {name for heading in headings for name in html.unescape(heading).split(", ")}
    shown = [sheet for sheet in openpyxl.load_workbook(workbook).worksheets if sheet.sheet_state == "visible"]
    assert {re.sub("^Comparison .*", "Comparison <dataset>", sheet.title) for sheet in shown} <= explained
    columns = {
        cell.value for sheet in shown for cell in sheet[1] if cell.comment and sheet.title not in ("Decision", "Winner")
    }
    assert {"image AUROC ±", "image_AUROC_sd", "more_labels", "more_images", "text", "flattery at 0.5"} <= columns
    assert [name for name in columns if help_for(name, "").replace("|", "") not in page] == []


def test_lists_are_read_as_on_github(site):
    steps = re.search(r"Groups come from</p>\s*<ol>(.*?)</ol>", (site / "data" / "index.html").read_text(), re.S)[1]
    assert steps.count("<li>") == 3, "what stands between the items belongs to the list where it is indented by 4"
    for page in (path for path in site.rglob("*.html") if "notebooks" not in path.parts):
        text = re.sub(r"<pre>.*?</pre>", "", page.read_text(), flags=re.S)
        assert not re.search(r"```|^\s*[-*|] \S", text, re.M), page


def test_notebooks_that_a_sweep_executed_are_pages_with_their_outputs(site):
    run = make_record().run_id
    assert f'href="../notebooks/runs/{run}.html"' in (site / "docs" / "executed.html").read_text()
    assert "an output of the run" in (site / "notebooks" / "runs" / f"{run}.html").read_text()


def test_a_run_of_strangers_is_shown_and_nothing_of_it_runs_in_the_site(site):
    page = (site / "notebooks" / "runs" / f"{make_record().run_id}.html").read_text()
    shown = page[page.index("<body") :]
    assert '<tr style="text-align: right;"><th>metric</th><td>0.914</td></tr>' in shown
    assert re.search(r'<img alt="predictions" src="data:image/png;base64,iVBORw0KGgo=" style="max-width: 100%;"', shown)
    assert "A heading" in shown and "an output of the run" in shown
    assert not re.search(r"<script|<svg|<iframe|alert\(|svg\+xml|secret", shown)
    assert page.index("script-src 'none'") < page.index("<script"), "what nbconvert lets through does not run either"
    listed = re.search(r"<tbody>.*</tbody>", (site / "docs" / "executed.html").read_text(), re.S)[0]
    assert f"<td>{STRANGERS}</td>" in html.unescape(listed)
    assert listed.count("<td>") == 5 and listed.count("<a ") == 1 and "<script" not in listed


def test_pages_load_nothing_from_other_servers(site):
    loading = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        found = [tag for tag in loading.findall(page.read_text()) if 'rel="canonical"' not in tag]
        assert found == [], page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_search_finds_a_word_in_pages_that_are_opened_from_the_disk(site):
    with open_page((site / "docs" / "scale.html").as_uri()) as (page, asked):
        page.wait_for_load_state()
        page.keyboard.press("/")
        page.wait_for_selector("text=Type to start searching")  # the index is read
        page.keyboard.type("clopper")
        page.wait_for_selector(".md-search-result__item")
        page.click(".md-search-result__item a")
        page.wait_for_load_state()
        assert "clopper" in page.inner_text("article").lower()
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def copy(tmp_path):
    """The files of the repository that the site is made of, to be changed."""
    root = tmp_path / "copy"
    for path in project_files("*"):
        name = path.relative_to(paths.ROOT)
        if path.suffix in (".md", ".yml", ".png", ".xlsx", ".js", ".css", ".csv", ".json") or name.parts[0] == "docs":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / name)
    shutil.copy(paths.ROOT / "LICENSE", root)
    return root


def test_a_workbook_with_sheets_of_its_readers_does_not_stop_the_build(copy, tmp_path):
    workbook = openpyxl.load_workbook(copy / "models_comparing.xlsx")
    workbook.create_sheet("Our machines")
    workbook["All runs"].title = "All of 2026"
    workbook.save(copy / "models_comparing.xlsx")
    assert build(copy, tmp_path / "site").returncode == 0
    page = (tmp_path / "site" / "docs" / "sheets.html").read_text()
    assert "Our machines" not in page and ">All runs<" in page


def test_a_link_to_a_page_or_a_heading_that_is_not_there_stops_the_build(copy, tmp_path):
    assert build(copy, tmp_path / "site").returncode == 0
    with open(copy / "docs" / "scale.md", "a") as page:
        page.write("\n[one](nowhere.md), [two](decisions.md#nowhere), [three](#nothing)\n")
    built = build(copy, tmp_path / "site")
    assert built.returncode != 0
    assert "'nowhere.md'" in built.stderr and "'decisions.md#nowhere'" in built.stderr and "'#nothing'" in built.stderr

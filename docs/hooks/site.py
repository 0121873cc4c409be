"""The hook of mkdocs: brings the pages of the repository into the site, with those that are made from its facts.

The site has the layout of the repository. Every page that is reached by links from README.md or lies in ``docs/`` is a
page of the site, and every other file that is linked to lies beside it, so that links lead to the same places here and
on GitHub.
"""

import os
import re
from functools import cache
from pathlib import Path

from detector_pages import detector_pages, link_detectors
from executed import executed_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from sheet_pages import sheets_page

ROOT = Path(__file__).resolve().parents[2]
DETECTORS_PAGE = "docs/detectors.md"
_SHEETS = "\n## The sheets\n\nWhat each column means: [each sheet and column](sheets.md).\n"
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: the detectors, and pages that it does not name."""
    nav = config.nav
    assert nav is not None
    detectors = next(entry["Detectors"] for entry in nav if "Detectors" in entry)
    detectors += sorted(page for page in _made() if page.startswith("docs/detectors/"))
    missing = sorted(page for page in _reached()[0] if page not in str(nav))
    if missing:
        nav.append({"More": missing})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of the repository, and the pages that are made, in place of what lies in ``docs/``."""
    for file in [each for each in files if each.src_dir == config.docs_dir]:
        files.remove(file)
    for name in sorted(set().union(*_reached())):
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name, content in _made().items():
        files.append(File.generated(config, name, content=content))
    for name in ("iframe-worker.js", "site.css"):
        files.append(File.generated(config, f"assets/{name}", abs_src_path=str(ROOT / "docs" / "hooks" / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link to what is shown on the site: notebooks as pages, and a page for each detector."""
    if page.file.src_uri == "CHANGELOG.md":  # has every word, and is not what people look for
        page.meta["search"] = {"boost": 0.2}
    if page.file.src_uri == DETECTORS_PAGE:
        markdown = link_detectors(markdown)
    if page.file.src_uri == "docs/comparison.md":
        markdown = markdown.replace("\n## The sheets\n", _SHEETS, 1)
    return re.sub(r"\]\(([^)\s:]+)\.ipynb\)", r"](\1.html)", markdown)


@cache
def _reached() -> tuple[set[str], set[str]]:
    """Return the pages, and the other files that they link to, as paths from the repository."""
    pages: set[str] = set()
    others: set[str] = set()
    waiting = ["README.md", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))]
    while waiting:
        page = waiting.pop()
        if page in pages:
            continue
        pages.add(page)
        for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            target = Path(os.path.normpath(ROOT / Path(page).parent / link))
            if "://" in link or not target.is_file() or not target.is_relative_to(ROOT):
                continue  # what does not exist is told by mkdocs, which knows the line
            name = target.relative_to(ROOT).as_posix()
            if target.suffix == ".md":
                waiting.append(name)
            elif target.suffix != ".ipynb":  # these are made pages of
                others.add(name)
    return pages, others


@cache
def _made() -> dict[str, str]:
    """Return the pages that are made, by their path from the repository."""
    return {**detector_pages(ROOT), "docs/sheets.md": sheets_page(ROOT), **executed_pages()}

"""The results notebook as one HTML file that needs nothing else, and as PDF where a browser is there."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import bleach  # comes with nbconvert, as what it cleans with
import nbformat
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer
from nbconvert import HTMLExporter

from training_code.foundation.files import atomic_path, write_text

#: Programs that print a page, the first one that is there is taken.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PRINTING = 300  # seconds
# Tables are wide.
_PRINTED = """<style>
@page { size: A3 landscape; }
@media print { img { max-width: 100%; max-height: 240mm; width: auto; break-inside: avoid; } }
</style>"""
# What is left of a stranger's outputs: text, tables and pictures that are in the page. No script runs in such a page.
_TAGS = {
    *bleach.ALLOWED_TAGS,
    "br",
    "del",
    "details",
    "div",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "img",
    "p",
    "pre",
}
_TAGS |= {"span", "sub", "summary", "sup", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"}
_ATTRIBUTES = {"class", "style", "alt", "title", "width", "height", "align", "colspan", "rowspan"}
_PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]+")
_STYLES = CSSSanitizer(allowed_css_properties=[*ALLOWED_CSS_PROPERTIES, "max-width"])
_WITHOUT_TEXT = re.compile(r"<(script|style)\b.*?</\1\s*>", re.I | re.S)
_POLICY = (
    """<meta http-equiv="Content-Security-Policy" content="script-src 'none'; object-src 'none'; base-uri 'none'">"""
)


def write_html(executed: Path, output: Path) -> None:
    """Write an executed notebook as one file: pictures inside, no code, nothing from elsewhere."""
    body = to_html(executed, "Results", code=False)
    write_text(output, body.replace("</head>", f"{_PRINTED}</head>", 1))


def to_html(notebook: Path, title: str, *, code: bool = True, trusted: bool = True) -> str:
    """Return a notebook as a page with its outputs, and its code where that is wanted; nothing is from elsewhere.

    Of one that is not ``trusted`` text, tables and pictures are shown, and no script of it runs: whoever made it could
    speak to the reader's browser in the name of the site.
    """
    exporter = HTMLExporter(
        embed_images=trusted,  # files that Markdown names would be read
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_raw=not trusted,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
        sanitize_html=not trusted,
        filters={"clean_html": _cleaned},
    )
    read = nbformat.read(notebook, as_version=4)
    if not trusted:
        outputs = (output for cell in read.cells for output in cell.get("outputs", []))
        for output in (each for each in outputs if "metadata" in each):
            output.metadata = nbformat.NotebookNode()  # a width, which is written without quotes, could be an event
    body, _ = exporter.from_notebook_node(read, {"metadata": {"name": title}})
    return body if trusted else body.replace("<head>", f"<head>{_POLICY}", 1)


def _cleaned(content: str) -> str:
    """Return HTML without what could run, load or submit something."""
    return bleach.clean(
        _WITHOUT_TEXT.sub("", str(content)),
        tags=_TAGS,
        attributes=_is_harmless,
        protocols={*bleach.ALLOWED_PROTOCOLS, "data"},
        css_sanitizer=_STYLES,
        strip=True,
    )


def _is_harmless(tag: str, name: str, value: str) -> bool:
    if name == "src":
        return tag == "img" and _PICTURE.fullmatch(value) is not None
    if name == "href":
        return tag == "a" and not value.strip().lower().startswith("data:")
    return name in _ATTRIBUTES


def write_pdf(page: Path, output: Path) -> bool:
    """Print an HTML file to PDF; return whether there was a browser that could."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        return False
    with tempfile.TemporaryDirectory() as profile, atomic_path(output) as temporary:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--no-pdf-header-footer", f"--print-to-pdf={temporary}", page.resolve().as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=_PRINTING, check=True)
        except (OSError, subprocess.SubprocessError):
            return False
        return temporary.is_file()

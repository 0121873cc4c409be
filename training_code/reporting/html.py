"""The results notebook as one HTML file that needs nothing else, and as PDF where a browser is there."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import nbformat
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


def write_html(executed: Path, output: Path) -> None:
    """Write an executed notebook as one file: pictures inside, no code, nothing from elsewhere."""
    body = to_html(executed, "Results", code=False)
    write_text(output, body.replace("</head>", f"{_PRINTED}</head>", 1))


def to_html(notebook: Path, title: str, *, code: bool = True) -> str:
    """Return a notebook as a page with its outputs, and its code where that is wanted; nothing is from elsewhere."""
    exporter = HTMLExporter(
        embed_images=True,
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
    )
    body, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4), {"metadata": {"name": title}})
    return body


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

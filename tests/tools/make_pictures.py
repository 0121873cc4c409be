"""``python tests/tools/make_pictures.py``: the pictures of the tutorial, made of what its commands write.

The commands of docs/tutorial.md are run in their order, on the embedded boards, and images/tutorial/ gets what a reader
sees after each; that takes two minutes, and needs Chromium, LibreOffice and pdftoppm.
"""

import argparse
import html
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.browser import open_page  # noqa: E402
from helpers.office import convert  # noqa: E402
from helpers.tutorial import Reader, Step, read_steps  # noqa: E402

IMAGES = ROOT / "images"
# Pixels of a picture, and lines of a terminal that are shown: the last ones.
_WIDTH, _LINES = 1100, 26
_TERMINAL = """<body style="margin:0;background:#1e1e1e"><pre style="margin:0;padding:14px 18px;color:#ddd;
font:13px/1.45 'DejaVu Sans Mono',monospace;white-space:pre-wrap;overflow-wrap:anywhere">{}</pre>"""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        picture_tutorial(Path(home), IMAGES / "tutorial")
    return 0


def picture_tutorial(home: Path, folder: Path) -> None:
    """Follow the tutorial in ``home``; write a picture of each step into ``folder``."""
    reader = Reader(home)
    folder.mkdir(exist_ok=True)
    for step in read_steps():
        picture = folder / f"{step.number:02}.png"
        show = partial(picture_service, photograph=home / "NEW_IMAGES" / "bad_1.png", picture=picture)
        said = reader.follow(step, meanwhile=show)
        said = said.replace(f"{home}/", "").replace(f"{ROOT}/", "")  # as in a clone that the reader stands in
        _picture_step(step, said, home, picture)
        print(f"{picture.relative_to(ROOT)}: {step.title}", flush=True)


def _picture_step(step: Step, said: str, home: Path, picture: Path) -> None:
    """Make the picture of a step: of the file that it is about, or of what the command printed."""
    if step.number == 4:
        _smaller(home / "strange.png", picture)
    elif step.number == 7:
        picture_sheet(home / "models_comparing.xlsx", picture)
    elif step.number == 8:
        with open_page((home / "results" / "report.html").as_uri(), width=_WIDTH, height=1000) as (page, _):
            page.evaluate("document.querySelector('#Which-model-for-a-line').scrollIntoView()")
            page.screenshot(path=picture)
    elif step.number == 10:
        picture_overlays(sorted(home.glob("predictions/overlays/*.png")), picture)
    elif step.number != 11:  # the picture of the service was made while it listened
        picture_text(said, picture)


def picture_text(text: str, picture: Path) -> None:
    """Write what a terminal shows as a picture."""
    lines = text.rstrip().splitlines()
    shown = [*lines[:2], "…", *lines[2 - _LINES :]] if len(lines) > _LINES else lines
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as page:
        page.write("<!doctype html><meta charset=utf-8>" + _TERMINAL.format(html.escape("\n".join(shown))))
        page.flush()
        with open_page(Path(page.name).as_uri(), width=_WIDTH, height=10) as (browser, _):
            browser.screenshot(path=picture, full_page=True)


def picture_overlays(overlays: list[Path], picture: Path) -> None:
    """Write overlays beside each other, four in a row."""
    side = _WIDTH // 4
    whole = Image.new("RGB", (_WIDTH, side * -(-len(overlays) // 4)), "white")
    for number, path in enumerate(overlays):
        image = Image.open(path).convert("RGB").resize((side - 6, side - 6), Image.LANCZOS)
        whole.paste(image, (number % 4 * side, number // 4 * side))
    whole.save(picture)


def picture_service(address: str, photograph: Path, picture: Path) -> None:
    """Drop a photograph on the page of a service that listens, and write what is seen."""
    with open_page(address, width=_WIDTH, height=720) as (page, _):
        page.set_input_files("#file", photograph)
        page.wait_for_selector("#result:visible")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=picture, full_page=True)


def picture_sheet(workbook: Path, picture: Path) -> None:
    """Write the first printed page of a workbook, which is its first sheet, as a picture without its margins."""
    with tempfile.TemporaryDirectory() as folder:
        convert("pdf", [workbook], Path(folder))
        printed = Path(folder) / "out" / f"{workbook.stem}.pdf"
        command = [
            "pdftoppm",
            "-l",
            "1",
            "-r",
            "150",
            "-png",
            "-singlefile",
            printed,
            printed.with_suffix(""),
        ]
        subprocess.run(command, check=True)
        page = Image.open(printed.with_suffix(".png")).convert("RGB")
    box = ImageChops.difference(page, Image.new("RGB", page.size, "white")).getbbox() or (0, 0, *page.size)
    page.crop((max(0, box[0] - 10), max(0, box[1] - 10), box[2] + 10, box[3] + 10)).save(picture, optimize=True)


def _smaller(source: Path, picture: Path) -> None:
    """Copy a picture, no wider than the others."""
    image = Image.open(source)
    if image.width <= _WIDTH:
        shutil.copy(source, picture)
        return
    image.convert("RGB").resize((_WIDTH, round(image.height * _WIDTH / image.width)), Image.LANCZOS).save(picture)


if __name__ == "__main__":
    sys.exit(main())

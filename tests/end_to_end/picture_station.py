"""``python tests/end_to_end/picture_station.py IMAGES [--all DIR]``: the page of a station as images/station.png.

``IMAGES`` is the folder of the magnetic tiles as they are published, where each defect has a mask. A day at a line is
made of them: parts of two views, whose overlays are drawn from the masks.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.browser import open_page  # noqa: E402
from helpers.serving_process import serve  # noqa: E402

from inference_code.station.inbox import Photograph  # noqa: E402
from inference_code.station.ledger import Ledger  # noqa: E402
from inference_code.station.schema import FOUND, LEDGER  # noqa: E402
from inference_code.verdicts import Verdict  # noqa: E402
from inference_code.visualization import overlay  # noqa: E402

SIZES = {"desktop": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}
VIEWS = ("left", "right")
# Parts that were judged today before the pictures begin, and those at the end that have photographs.
PARTS, WITH_PICTURES = 2400, 84


class Day:
    """A day at a line, from six o'clock until now."""

    def __init__(self, folder: Path, images: Path) -> None:
        self.folder, self._random = folder, random.Random(3)
        kinds = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray")
        self._bad = [path for kind in kinds for path in _wide(images / kind / "Imgs")]
        self._good = _wide(images / "MT_Free" / "Imgs")
        self.ledger = Ledger(folder / LEDGER)
        self._number = 0

    def judge(self, moment: float, bad: bool, pictures: bool = False) -> int:
        """Judge a part; return its number."""
        self._number += 1
        name = f"tile-{self._number:05d}"
        folder = f"{time.strftime('%Y-%m-%d', time.localtime(moment))}/{name}"
        part = self.ledger.open_part(name, folder, moment)
        wrong = self._random.choice(VIEWS) if bad else ""
        for view in VIEWS:
            place = f"{folder}/{name}_{view}.jpg"
            given = Photograph(PurePosixPath(place), 1, 1)
            number = self.ledger.enter(given, part, view, FOUND, place, moment)
            score = self._random.uniform(0.6, 0.95) if view == wrong else self._random.uniform(0.1, 0.4)
            noted = {"scaled": score, "score": score, "abnormal": view == wrong, "regions": int(view == wrong)}
            self.ledger.note(number, FOUND, noted)
            if pictures:
                self._draw(self.folder / place, view, view == wrong)
        verdict = Verdict("bad", wrong, 0.8) if bad else Verdict("good", "", 0.3)
        self.ledger.judge(part, verdict, moment)
        return part

    def _draw(self, path: Path, view: str, bad: bool) -> None:
        source = self._random.choice(self._bad if bad else self._good)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())
        photo = np.asarray(Image.open(source).convert("RGB"))
        mask = np.zeros(photo.shape[:2], bool)
        if bad:
            mask = np.asarray(Image.open(source.with_suffix(".png")).convert("L").resize(photo.shape[1::-1])) > 127
        drawn = overlay(photo, mask.astype(np.float32), 0.5, mask)
        drawn.save(path.parent / f"{view}.overlay.png")

    def pass_until(self, now: float) -> None:
        """Judge the parts of the day until now."""
        local = time.localtime(now)
        begin = time.mktime((*local[:3], 6, 0, 0, 0, 0, -1))
        begin = begin if begin < now - 3600 else now - 3600
        moments = sorted(self._random.uniform(begin, now - 4) for _ in range(PARTS))
        with self.ledger.changing():
            for place, moment in enumerate(moments):
                pictures = place >= PARTS - WITH_PICTURES
                bad = place % 7 == 0 if pictures else self._random.random() < 0.03
                part = self.judge(moment, bad, pictures)
                if bad and (not pictures and self._random.random() < 0.1 or place == PARTS - 8):
                    self.ledger.correct(part, "good", "Anna", moment + 60)


def _wide(folder: Path) -> list[Path]:
    """Return the photographs of a folder that are wider than high, as most cameras take them."""
    found = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            if image.width > 1.2 * image.height:
                found.append(path)
    return found


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "images" / "station.png")
    parser.add_argument("--all", type=Path, help="a folder for pictures of every size, verdict and scheme")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "line 3"
        folder.mkdir()
        day = Day(folder, options.images)
        day.pass_until(time.time())
        with serve("--station", folder) as (_, address):
            take(f"{address}/station", day, options)
        day.ledger.close()
    return 0


def take(address: str, day: Day, options: argparse.Namespace) -> None:
    """Take the pictures."""
    with open_page(address, *SIZES["desktop"]) as (page, _):
        page.wait_for_selector("#bad img")
        page.click("#unlock")
        page.locator("#person").fill("Anna")
        page.locator("#person").blur()
        for verdict in ("good", "bad"):
            day.judge(time.time(), verdict == "bad", True)
            page.wait_for_selector(f"[data-verdict={verdict}] #pictures img[src]")
            page.wait_for_timeout(4000 if verdict == "bad" else 1000)
            if verdict == "bad":
                page.screenshot(path=options.output)
                with Image.open(options.output) as picture:  # with fewer colors it takes a third of the bytes
                    small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
                small.save(options.output, optimize=True)
                page.keyboard.press("g")
                page.wait_for_selector("#said:visible")
            for scheme in ("light", "dark") if options.all else ():
                page.emulate_media(color_scheme=scheme)
                for size, (width, height) in SIZES.items():
                    page.set_viewport_size({"width": width, "height": height})
                    page.wait_for_timeout(300)
                    page.screenshot(path=options.all / f"{verdict}-{size}-{scheme}.png", full_page=size != "desktop")
            page.set_viewport_size(dict(zip(("width", "height"), SIZES["desktop"], strict=True)))
            page.emulate_media(color_scheme="light")


if __name__ == "__main__":
    sys.exit(main())

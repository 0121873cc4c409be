"""A station whose viewer reads scores from the photographs themselves, so that no detector is needed.

``python tests/helpers/station.py INBOX OUTPUT [SINK]`` runs one until nothing waits.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from inference_code.station.drift import Drift
from inference_code.station.grouping import PATTERN, ByPattern, Expected
from inference_code.station.inbox import Inbox
from inference_code.station.ledger import Ledger
from inference_code.station.running import run
from inference_code.station.schema import FOUND, UNREADABLE
from inference_code.station.sinks import Courier, open_sink
from inference_code.station.station import Station, Way
from inference_code.station.views import ToSee, Viewers
from inference_code.station.watches import SCORE, Reference
from inference_code.verdicts import Rule

THRESHOLD = 0.5
#: What watches for drift compare scores with, in stations of their own process.
REFERENCE = Reference({SCORE: [0.0] * 40}, "reading")


class Reading:
    """A viewer for which the content of a photograph is its score, and its picture a copy of it."""

    def look(self, photographs: Sequence[ToSee]) -> list[tuple[str, dict[str, Any]]]:
        """Return scores; what is no number cannot be read."""
        return [self._look(photograph) for photograph in photographs]

    def _look(self, photograph: ToSee) -> tuple[str, dict[str, Any]]:
        try:
            score = float(photograph.path.read_text())
        except (ValueError, OSError) as error:
            return UNREADABLE, {"error": str(error)}
        photograph.folder.mkdir(parents=True, exist_ok=True)
        (photograph.folder / f"{photograph.view}.overlay.png").write_text("picture")
        return FOUND, {"run": "reading", "score": score, "scaled": score, "abnormal": score >= THRESHOLD}


class Bright(Reading):
    """A viewer for which the brightest gray value of a photograph, from 0 to 1, is its score; with real pictures."""

    def _look(self, photograph: ToSee) -> tuple[str, dict[str, Any]]:
        image = Image.open(photograph.path).convert("L")
        score = image.getextrema()[1] / 255
        photograph.folder.mkdir(parents=True, exist_ok=True)
        image.save(photograph.folder / f"{photograph.view}.overlay.png")
        found = {"run": "bright", "score": score, "scaled": score, "abnormal": score >= THRESHOLD, "regions": 1}
        return FOUND, found


def put_image(inbox: Path, name: str, score: float) -> None:
    """Have a photograph for `Bright` appear in the inbox, complete."""
    hidden = inbox / f".{name}"
    image = Image.new("L", (64, 48), 40)
    image.paste(round(255 * score), (20, 16, 30, 26))
    image.save(hidden)
    hidden.rename(inbox / name)


def make_station(inbox: Path, output: Path, **changes: Any) -> Station:
    """Return a station for parts of two views."""
    way = {"grouping": ByPattern(PATTERN), "expected": Expected.of("2"), "rule": Rule("any")}
    way |= {"part_timeout": 5.0, "again_after": 3600.0}
    clock = changes.pop("clock", None)
    say = changes.pop("say", lambda sentence: None)
    settle, viewer = changes.pop("settle", 0.0), changes.pop("viewer", Reading())
    output.mkdir(parents=True, exist_ok=True)
    clocks = {} if clock is None else {"clock": clock}
    folder = Inbox(inbox, settle, **clocks)
    ledger = Ledger(output / "station.sqlite")
    return Station(folder, output, ledger, Way(**(way | changes)), Viewers(viewer, {}), say)


def put(inbox: Path, name: str, score: object) -> Path:
    """Have a photograph appear in the inbox, complete."""
    hidden = inbox / f".{Path(name).name}"
    hidden.write_text(str(score))
    (inbox / name).parent.mkdir(parents=True, exist_ok=True)
    return hidden.rename(inbox / name)


def main() -> None:
    """Run a station."""
    inbox, output, *sinks = map(Path, sys.argv[1:])
    station = make_station(inbox, output)
    station.drift = Drift(station.ledger, {"reading": REFERENCE}, expected_bad=0.9)
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(Courier(open_sink(str(sink)), station.ledger.path, output))
        run(station, 0.01, once=True)


if __name__ == "__main__":
    main()


def work_off(station: Station) -> None:
    """Let a station step until nothing is left to do."""
    while station.step():
        continue

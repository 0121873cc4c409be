"""A folder of a station with parts that people judged, without a station and a detector."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from inference_code.station.filing import safe
from inference_code.station.inbox import Photograph
from inference_code.station.ledger import Ledger
from inference_code.station.schema import FOUND
from inference_code.verdicts import Verdict
from training_code.data.corrected import LEDGER

#: The day on which parts came.
DAY = "2026-11-26"


def make_ledger(station: Path) -> Ledger:
    """Return a new ledger in a folder."""
    station.mkdir(parents=True, exist_ok=True)
    return Ledger(station / LEDGER)


def file_part(ledger: Ledger, name: str, verdict: str, views: Mapping[str, tuple[Path, bool]], run: str = "run") -> int:
    """File a judged part whose views are copies of images, each with whether a run marked it; return its number."""
    station = ledger.path.parent
    folder = f"{DAY}/{safe(name)}"
    part = ledger.open_part(name, folder, 1.0)
    (station / folder).mkdir(parents=True)
    for view, (image, marked) in views.items():
        place = f"{folder}/{view}{image.suffix}"
        (station / place).write_bytes(image.read_bytes())
        number = ledger.enter(Photograph(PurePosixPath(place), 1, 1), part, view, "waiting", place, 1.0)
        ledger.note(number, FOUND, {"abnormal": marked, "score": float(marked), "run": run})
        ledger.note_moved([number])
    ledger.judge(part, Verdict(verdict, "", None), 2.0)
    ledger.note_filed(part)
    return part

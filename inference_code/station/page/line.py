"""What the page of a station shows: the last part, the last bad ones, and the counts of the day.

The counts are kept: only verdicts that are new are read. The day is that of the machine's clock.
"""

import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_code.station.alarms import alarms
from inference_code.station.reading import Reader
from inference_code.station.schema import LEDGER, UNREADABLE, Entry, Part
from inference_code.verdicts import BAD, GOOD, VERDICTS
from training_code.foundation.errors import InputError
from training_code.foundation.files import digest

#: Bad parts that the page shows small.
LAST_BAD = 12
# Verdicts that are read at a time.
_AT_ONCE = 1000


@dataclass(frozen=True)
class Shown:
    """What the page shows at a time; ``digest`` is another one whenever it is something else."""

    content: Mapping[str, Any]
    digest: str


class Line:
    """Reads from the folder of a station what its page shows.

    Parameters
    ----------
    folder
        Of the station; the ledger may not be there yet.
    clock
        Returns the seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._reader: Reader | None = None
        self._day = _Day("", 0.0)
        self._seen: tuple[int, str] | None = None  # state of the ledger and the day that are shown
        self._shown = self._closed("missing", "")
        self._one_at_a_time = threading.Lock()

    def look(self) -> Shown:
        """Return what is to be shown now; where the ledger cannot be read, the last that was, and why."""
        with self._one_at_a_time:
            try:
                self._read()
            except FileNotFoundError:
                self._shown = self._closed("missing", "")
            except (OSError, sqlite3.Error, InputError) as error:
                self._shown = self._closed("unreadable", str(error).replace(f"{self.folder}/", ""))
            return self._shown

    def _closed(self, trouble: str, detail: str) -> Shown:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._seen = None, None
        content = {"station": self.folder.name, "trouble": trouble, "detail": detail}
        return Shown(content, digest(content))

    def _read(self) -> None:
        if self._reader is None or self._reader.replaced:
            self._closed("", "")
            self._day = _Day("", 0.0)
            self._reader = Reader(self.folder / LEDGER)
        now = time.localtime(self._clock())
        day = time.strftime("%Y-%m-%d", now)
        seen = self._reader.state, day
        if seen == self._seen:
            return
        if day != self._day.name:
            self._day = _Day(day, time.mktime((*now[:3], 0, 0, 0, 0, 0, -1)))
        self._day.read(self._reader)
        content = self._content(self._reader, self._day)
        self._shown, self._seen = Shown(content, digest(content)), seen

    def _content(self, reader: Reader, day: "_Day") -> dict[str, Any]:
        last = reader.part(reader.last_number())
        return {
            "station": self.folder.name,
            "trouble": None,
            "day": day.name,
            "last": last and describe(reader, last),
            "bad": [describe(reader, part) for part in reader.last_bad(LAST_BAD)],
            "totals": {verdict: day.totals[verdict] for verdict in VERDICTS},
            "hours": [{"hour": hour, **dict(day.hours[hour])} for hour in sorted(day.hours)],
            "views": [{"view": view, **dict(day.views[view])} for view in sorted(day.views)],
            "corrected": {GOOD: 0, BAD: 0} | reader.corrected(day.begin),
            "drift": [{**alarm, "picture": f"station/{alarm['picture']}"} for alarm in alarms(reader)],
        }


class _Day:
    """The counts of a day, which grow with every verdict."""

    def __init__(self, name: str, begin: float) -> None:
        self.name, self.begin = name, begin
        self.totals: Counter[str] = Counter()
        self.hours: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.views: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._number: int | None = None  # of the last verdict that is counted

    def read(self, reader: Reader) -> None:
        """Count the verdicts that are new."""
        if self._number is None:
            first = reader.first_since(self.begin)
            if first is None:
                return
            self._number = first - 1
        while parts := reader.parts_after(self._number, _AT_ONCE):
            for part in parts:
                self.totals[str(part.verdict)] += 1
                self.hours[time.localtime(part.judged).tm_hour][str(part.verdict)] += 1
            for view, state, abnormal in reader.view_states(parts):
                self.views[view]["unreadable" if state == UNREADABLE else BAD if abnormal else GOOD] += 1
            self._number = parts[-1].number or 0


def describe(reader: Reader, part: Part) -> dict[str, Any]:
    """Return what is shown of a part: its verdict, its views, and what a person said of it."""
    corrected = reader.correction(part.id)
    return {
        "number": part.number,
        "name": part.name,
        "verdict": part.verdict,
        "reason": part.reason,
        "score": part.score,
        "p_value": part.p_value,
        "judged": part.judged,
        "day": time.strftime("%Y-%m-%d", time.localtime(part.judged)),
        "time": time.strftime("%H:%M:%S", time.localtime(part.judged)),
        "views": [_view(entry) for entry in reader.views(part.id)],
        "correction": corrected
        and {
            "verdict": corrected.verdict,
            "person": corrected.person,
            "time": time.strftime("%H:%M", time.localtime(corrected.at)),
            "note": corrected.note,
        },
    }


def _view(entry: Entry) -> dict[str, Any]:
    return {
        "view": entry.view,
        "state": entry.state,
        "abnormal": entry.abnormal,
        "score": entry.scaled,
        "regions": entry.regions,
    }

"""What people said of the parts of a station, read from the file in which the station keeps its verdicts.

The tables are those of `inference_code.station.schema`; what reads them here needs neither the station nor torch, and
changes nothing, also while the station is at work.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training_code.foundation.errors import InputError

#: What the ledger is called in the folder of a station.
LEDGER = "station.sqlite"
#: Its version as this program writes it; earlier ones can be read.
VERSION = 2
#: What people say of a part, which are verdicts of the station, too.
GOOD, BAD = "good", "bad"
#: What a correction says of the station.
FALSE_ALARM, MISS, CONFIRMED, DECIDED = "false alarm", "miss", "confirmed", "decided"
# Of a part the last correction counts; one without a verdict takes earlier ones back.
_PARTS = """
SELECT parts.id, parts.name, parts.folder, parts.verdict AS found, said.verdict AS said, said.person, said.at, said.note
FROM corrections AS said JOIN parts ON parts.id = said.part
WHERE said.id IN (SELECT max(id) FROM corrections GROUP BY part) AND said.verdict IS NOT NULL
ORDER BY said.id
"""
# Photographs that came late or twice are not what the verdict was about.
_VIEWS = """
SELECT view, place, abnormal, run FROM photographs WHERE part = ? AND moved AND state = 'found' ORDER BY view, id
"""


@dataclass(frozen=True)
class CorrectedView:
    """A photograph of a part that a person judged.

    Attributes
    ----------
    name
        Of the view.
    path
        The file, as far as nobody has moved it since.
    marked
        Whether the detector called it abnormal.
    run
        The run of that detector.
    """

    name: str
    path: Path
    marked: bool
    run: str


@dataclass(frozen=True)
class CorrectedPart:
    """A part that a person judged after the station.

    Attributes
    ----------
    name
        As the station got it; several parts may have one.
    folder
        Where its photographs lie, from the folder of the station; no other part has it.
    found
        The verdict of the station; None where it has none yet.
    said
        `GOOD` or `BAD`: what the person said last.
    person, at, note
        Who said so, when in seconds since the epoch, and what else.
    views
        The photographs that the station looked at and filed.
    """

    name: str
    folder: str
    found: str | None
    said: str
    person: str
    at: float
    note: str
    views: tuple[CorrectedView, ...]

    @property
    def day(self) -> str:
        """The day on which the part came: ``2026-11-26``."""
        return PurePosixPath(self.folder).parts[0]

    @property
    def kind(self) -> str:
        """What the correction says of the station: that it was wrong, and how; right; or had not decided."""
        if self.found not in (GOOD, BAD):
            return DECIDED
        if self.found == self.said:
            return CONFIRMED
        return FALSE_ALARM if self.said == GOOD else MISS


def read_corrected(station: Path) -> list[CorrectedPart]:
    """Return the parts of a station that people judged, in the order in which they did.

    Parameters
    ----------
    station
        The folder of the station, ``DIR`` of ``anomaly station --output DIR``.

    Raises
    ------
    InputError
        If there is no station, or its file cannot be read.
    """
    path = station / LEDGER
    if not path.is_file():
        raise InputError(f"{station} is no folder of a station: there is no {LEDGER} in it")
    try:
        with closing(open_to_read(path, 60)) as ledger:
            ledger.execute("BEGIN")  # everything is of one moment
            (version,) = ledger.execute("PRAGMA user_version").fetchone()
            if not 0 <= version <= VERSION:
                raise InputError(f"{path} is a ledger of version {version}; valid: up to {VERSION}")
            if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'corrections'").fetchone():
                return []  # written before there were corrections
            return [_part(ledger, row, station) for row in ledger.execute(_PARTS).fetchall()]
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def open_to_read(path: Path, patience: float) -> sqlite3.Connection:
    """Return a connection to a ledger that changes nothing, also in a folder that this user may not write.

    Parameters
    ----------
    path
        Of the ledger.
    patience
        Seconds that a reading waits for a change of another process.
    """

    def connect(how: str) -> sqlite3.Connection:
        address = f"{path.absolute().as_uri()}?{how}"
        found = sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)
        found.row_factory = sqlite3.Row
        return found

    connection = connect("mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # A reader makes files beside a ledger that nobody has open, and may not do so here: then nobody writes.
        if path.with_name(f"{path.name}-wal").exists():
            return connection
        connection.close()
        connection = connect("mode=ro&immutable=1")
    return connection


def _part(ledger: sqlite3.Connection, row: sqlite3.Row, station: Path) -> CorrectedPart:
    fields = dict(row)
    rows = ledger.execute(_VIEWS, (fields.pop("id"),))
    views = tuple(
        CorrectedView(str(each["view"]), station / each["place"], bool(each["abnormal"]), each["run"] or "")
        for each in rows
    )
    return CorrectedPart(**fields, views=views)

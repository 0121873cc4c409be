"""The ledger of a station: every photograph, part and verdict, in an SQLite file that survives a kill at any moment.

A photograph is entered before anything is done with it, together with the place that it will be moved to. Whatever is
done with it afterwards can be done again, so that a station that was killed goes on where the ledger says it was:

    entered -> found (a score, or that it cannot be read) -> its part judged -> moved to its place

A part is judged once: with the verdict it is closed, and what comes later under its name is late or doubled.

What every step asks for is found by an index of the few rows that are still open, however many there are in all.
SQLite, which knows nothing of these numbers, would choose others; so the index stands in the query.
"""

import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference_code.station.inbox import Photograph
from inference_code.station.schema import (
    DOUBLED,
    FOUND,
    LATE,
    UNKNOWN,
    UNREADABLE,
    VERSIONS,
    WAITING,
    Correction,
    Entry,
    Part,
)
from inference_code.verdicts import VERDICTS, Verdict
from training_code.foundation.errors import InputError

# Seconds that a change of the station waits for one of another connection.
_PATIENCE = 60


class Ledger:
    """The ledger in a file; several processes may have it open, and their changes wait for each other.

    Parameters
    ----------
    path
        The file.
    patience
        Seconds that a change waits for one of another connection.

    Raises
    ------
    InputError
        If the file is no ledger, or one of another version.
    """

    def __init__(self, path: Path, patience: float = _PATIENCE) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._upgrade()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                raise
            raise InputError(f"{path} cannot be used as a ledger: {error}") from error

    def _upgrade(self) -> None:
        if self._version() == len(VERSIONS):
            return  # without a change, which would wait for others and need room on the disk
        with self.changing():  # another process may be opening it
            version = self._version()
            if not 0 <= version <= len(VERSIONS):
                raise InputError(f"{self.path} is a ledger of version {version}; valid: up to {len(VERSIONS)}")
            for statement in itertools.chain(*VERSIONS[version:]):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {len(VERSIONS)}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Have all changes in the block be made together, or none of them."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    # Photographs

    def sources(self) -> set[str]:
        """Return the paths in the inbox of all photographs that have not been moved."""
        return {row["source"] for row in self._all("SELECT source FROM photographs WHERE NOT moved")}

    def taken(self, place: str) -> bool:
        """Return whether a photograph has this place, or will have it."""
        return bool(self._all("SELECT 1 FROM photographs WHERE place = ?", place))

    def enter(
        self, photograph: Photograph, part: int | None, view: str | None, state: str, place: str, came: float
    ) -> int:
        """Enter a photograph; return its number."""
        return self._insert(
            "photographs",
            {
                "part": part,
                "view": view,
                "source": str(photograph.source),
                "size": photograph.size,
                "modified": photograph.modified,
                "came": came,
                "state": state,
                "place": place,
            },
        )

    def note(self, number: int, state: str, found: Mapping[str, Any]) -> None:
        """Note what was found in a photograph, by the names of columns."""
        values = {"state": state, "error": None, **found}
        columns = ", ".join(f"{name} = ?" for name in values)
        self._connection.execute(f"UPDATE photographs SET {columns} WHERE id = ?", (*values.values(), number))

    def waiting(self, limit: int) -> list[Entry]:
        """Return photographs in which nothing was looked for yet, those first that came first."""
        return self._entries("WHERE state = ? ORDER BY id LIMIT ?", WAITING, limit)

    def unreadable(self) -> list[Entry]:
        """Return the photographs of open parts that could not be read."""
        still_open = "SELECT id FROM parts WHERE verdict IS NULL"
        return self._entries(f"INDEXED BY photographs_of_parts WHERE state = ? AND part IN ({still_open})", UNREADABLE)

    def of_part(self, part: int) -> list[Entry]:
        """Return the photographs of a part, in the order in which they came."""
        return self._entries("WHERE part = ? ORDER BY id", part)

    def to_move(self) -> list[Entry]:
        """Return the photographs that nothing is decided by any more, and that lie in the inbox."""
        return self._entries(
            "INDEXED BY sources WHERE NOT moved AND (state IN (?, ?, ?) "
            "OR EXISTS (SELECT 1 FROM parts WHERE parts.id = part AND verdict IS NOT NULL))",
            *(DOUBLED, LATE, UNKNOWN),
        )

    def note_moved(self, numbers: Sequence[int]) -> None:
        """Note that photographs lie at their places."""
        self._connection.executemany("UPDATE photographs SET moved = 1 WHERE id = ?", [(number,) for number in numbers])

    # Parts

    def latest(self, name: str) -> Part | None:
        """Return the part of this name that was opened last."""
        return next(iter(self._parts("WHERE name = ? ORDER BY id DESC LIMIT 1", name)), None)

    def open_parts(self) -> list[Part]:
        """Return the parts that have no verdict, in the order in which they were opened."""
        return self._parts("WHERE verdict IS NULL ORDER BY id")

    def last_opened(self) -> Part | None:
        """Return the part that was opened last of those that have no verdict."""
        return next(iter(self._parts("WHERE verdict IS NULL ORDER BY id DESC LIMIT 1")), None)

    def looked_at(self) -> list[Part]:
        """Return the parts without a verdict of which no photograph waits, in the order in which they were opened."""
        waits = "SELECT 1 FROM photographs INDEXED BY photographs_of_parts WHERE part = parts.id AND state = ?"
        return self._parts(f"WHERE verdict IS NULL AND NOT EXISTS ({waits}) ORDER BY id", WAITING)

    def to_file(self) -> list[Part]:
        """Return the parts with a verdict whose folder is not complete."""
        return self._parts("INDEXED BY unfiled WHERE verdict IS NOT NULL AND NOT filed ORDER BY id")

    def open_part(self, name: str, folder: str, opened: float) -> int:
        """Open a part; return its number."""
        return self._insert("parts", {"name": name, "folder": folder, "opened": opened})

    def folder_taken(self, folder: str) -> bool:
        """Return whether a part has this folder."""
        return bool(self._all("SELECT 1 FROM parts WHERE folder = ?", folder))

    def next_number(self) -> int:
        """Return the number that the next part will have."""
        return int(self._all("SELECT coalesce(max(id), 0) + 1 AS next FROM parts")[0]["next"])

    def judge(self, part: int, verdict: Verdict, judged: float) -> None:
        """Close a part with its verdict."""
        changed = self._connection.execute(
            "UPDATE parts SET verdict = ?, reason = ?, score = ?, p_value = ?, judged = ?, "
            "number = (SELECT coalesce(max(number), 0) + 1 FROM parts) WHERE id = ? AND verdict IS NULL",
            (verdict.verdict, verdict.reason, verdict.score, verdict.p_value, judged, part),
        )
        assert changed.rowcount == 1, f"part {part} was judged twice"

    def note_filed(self, part: int, filed: bool = True) -> None:
        """Note that the folder of a part is complete, or that something came into it since."""
        self._connection.execute("UPDATE parts SET filed = ? WHERE id = ?", (filed, part))

    def filed_after(self, number: int, limit: int) -> list[Part]:
        """Return parts whose folders are complete, in the order of their verdicts, up to the first that is not."""
        found = self._parts("WHERE number > ? ORDER BY number LIMIT ?", number, limit)
        return list(itertools.takewhile(lambda part: part.filed, found))

    def delivered(self, sink: str) -> int:
        """Return the number of the last verdict that a sink has got."""
        rows = self._all("SELECT delivered FROM sinks WHERE name = ?", sink)
        return int(rows[0]["delivered"]) if rows else 0

    def note_delivered(self, sink: str, number: int) -> None:
        """Note up to which verdict a sink has got all of them."""
        self._connection.execute("INSERT OR REPLACE INTO sinks VALUES (?, ?)", (sink, number))

    def totals(self, since: float = 0.0) -> dict[str, int]:
        """Return how many parts got each verdict from a time on, in seconds since the epoch."""
        found = "parts INDEXED BY parts_by_time WHERE judged >= ? GROUP BY verdict"
        rows = self._all(f"SELECT verdict, count(*) AS parts FROM {found}", since)
        return dict.fromkeys(VERDICTS, 0) | {row["verdict"]: row["parts"] for row in rows}

    # Corrections

    def correct(self, part: int, verdict: str | None, person: str, at: float, note: str = "") -> int:
        """Keep what a person says of a part; return the number of the correction."""
        given = {"part": part, "verdict": verdict, "person": person, "at": at, "note": note}
        return self._insert("corrections", given)

    def corrections(self) -> list[Correction]:
        """Return all corrections in their order; of a part, the last one counts."""
        return [Correction(**row) for row in self._all("SELECT * FROM corrections ORDER BY id")]

    # Drift

    def recent(self, run: str, limit: int, since: int = 0) -> list[Entry]:
        """Return the last photographs that a run has judged, from the one with the number ``since`` on, in order."""
        condition = "WHERE run = ? AND state = ? AND id >= ? ORDER BY id DESC LIMIT ?"
        return self._entries(condition, run, FOUND, since, limit)[::-1]

    def photograph(self, number: int) -> Entry:
        """Return a photograph by its number."""
        return self._entries("WHERE id = ?", number)[0]

    def part(self, number: int) -> Part:
        """Return a part by its number in the order in which they were opened."""
        return self._parts("WHERE id = ?", number)[0]

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a query finds, for those who only read."""
        return self._all(query, *values)

    def keep_watch(self, name: str, state: str, alarm: float | None) -> None:
        """Keep the state of a watch, and since when there is an alarm."""
        query = "INSERT INTO watches VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = ?, alarm = ?"
        self._connection.execute(query, (name, state, alarm, state, alarm))

    def _parts(self, condition: str, *values: Any) -> list[Part]:
        rows = self._all(f"SELECT * FROM parts {condition}", *values)
        return [*map(part_of, rows)]

    def _entries(self, condition: str, *values: Any) -> list[Entry]:
        rows = self._all(f"SELECT * FROM photographs {condition}", *values)
        return [*map(photograph_of, rows)]

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(query, values).fetchall()

    def _insert(self, table: str, values: Mapping[str, Any]) -> int:
        marks = ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
        number = self._connection.execute(query, tuple(values.values())).lastrowid
        assert number is not None
        return number


def part_of(row: sqlite3.Row) -> Part:
    """Return the part in a row of the table ``parts``."""
    return Part(**{**dict(row), "filed": bool(row["filed"])})


def photograph_of(row: sqlite3.Row) -> Entry:
    """Return the photograph in a row of the table ``photographs``."""
    return Entry(**{**dict(row), "moved": bool(row["moved"]), "abnormal": _truth(row["abnormal"])})


def _truth(value: int | None) -> bool | None:
    return None if value is None else bool(value)

"""The ledger of a station as those read it who watch the station: they never hold it up, and never wait for it."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference_code.station.ledger import Ledger, part_of, photograph_of
from inference_code.station.schema import OF_VIEWS, VERSIONS, Correction, Entry, Part
from inference_code.verdicts import BAD
from training_code.data.corrected import open_to_read

# Seconds; readers of a write-ahead log wait only while it is begun anew.
_PATIENCE = 1.0
_VIEWS = f"state IN ({', '.join(repr(state) for state in OF_VIEWS)})"


class Reader:
    """Reads the ledger in a file.

    Raises
    ------
    OSError
        If the file is not there.
    InputError
        If it is no ledger, or one of a later version.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.stat().st_ino
        self._connection = self._connect()
        if self._version() != len(VERSIONS):
            self._connection.close()
            Ledger(path, _PATIENCE).close()  # brings one of an earlier version up to date
            self._connection = self._connect()

    def _connect(self) -> sqlite3.Connection:
        return open_to_read(self._path, _PATIENCE)

    def _version(self) -> int:
        try:
            return int(self.rows("PRAGMA user_version")[0][0])
        except sqlite3.DatabaseError:  # the ledger itself says what is wrong
            return -1

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a query finds."""
        return self._connection.execute(query, values).fetchall()

    @property
    def replaced(self) -> bool:
        """Whether another file lies in the place of the one that is read."""
        try:
            return self._path.stat().st_ino != self._file
        except FileNotFoundError:
            return True

    @property
    def state(self) -> int:
        """A number that is another one after every change; it costs next to nothing."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def last_number(self) -> int:
        """Return the number of the last verdict; 0 where there is none."""
        return int(self.rows("SELECT coalesce(max(number), 0) FROM parts")[0][0])

    def first_since(self, since: float) -> int | None:
        """Return the number of the first verdict from a time on, in seconds since the epoch."""
        rows = self.rows("SELECT number FROM parts WHERE judged >= ? ORDER BY judged LIMIT 1", since)
        return int(rows[0][0]) if rows else None

    def part(self, number: int) -> Part | None:
        """Return the part whose verdict has a number."""
        return next(map(part_of, self.rows("SELECT * FROM parts WHERE number = ?", number)), None)

    def parts_after(self, number: int, limit: int) -> list[Part]:
        """Return the parts with the next verdicts after a number."""
        return [*map(part_of, self.rows("SELECT * FROM parts WHERE number > ? ORDER BY number LIMIT ?", number, limit))]

    def last_bad(self, count: int) -> list[Part]:
        """Return the parts that were called bad last, the last one first."""
        # The verdict and the index stand in the query, since the index is of such parts only.
        bad = f"parts INDEXED BY bad_parts WHERE verdict = '{BAD}' AND number > 0"
        return [*map(part_of, self.rows(f"SELECT * FROM {bad} ORDER BY number DESC LIMIT ?", count))]

    def views(self, part: int) -> list[Entry]:
        """Return the photographs that a part is judged by, by the names of their views."""
        query = f"SELECT * FROM photographs WHERE part = ? AND {_VIEWS} ORDER BY view"
        return [*map(photograph_of, self.rows(query, part))]

    def view_states(self, parts: Sequence[Part]) -> list[tuple[str, str, bool]]:
        """Return view, state, and whether something was found, of all photographs of consecutive verdicts."""
        query = (
            "SELECT view, state, abnormal FROM photographs WHERE part IN "
            f"(SELECT id FROM parts WHERE number BETWEEN ? AND ?) AND {_VIEWS}"
        )
        rows = self.rows(query, parts[0].number, parts[-1].number)
        return [(row["view"], row["state"], bool(row["abnormal"])) for row in rows]

    def correction(self, part: int) -> Correction | None:
        """Return what a person said last of a part; None where nobody did, or it was taken back."""
        rows = self.rows("SELECT * FROM corrections WHERE part = ? ORDER BY id DESC LIMIT 1", part)
        found = next((Correction(**row) for row in rows), None)
        return None if found is None or found.verdict is None else found

    def corrected(self, since: float) -> dict[str, int]:
        """Return how many parts with verdicts from a time on people call good, and bad, against their verdict."""
        query = (
            "SELECT c.verdict, count(*) AS parts FROM corrections c JOIN parts p ON p.id = c.part "
            "WHERE c.id IN (SELECT max(id) FROM corrections GROUP BY part) AND p.judged >= ? "
            "AND c.verdict IS NOT NULL AND c.verdict != p.verdict GROUP BY c.verdict"
        )
        return {row["verdict"]: row["parts"] for row in self.rows(query, since)}

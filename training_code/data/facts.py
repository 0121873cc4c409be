"""What is known of files, and an index of it on disk: what was found before a kill is not found again."""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

#: Raised when `Facts` change, so that what older versions found is not read.
_VERSION = 6
_SECONDS = 2  # between two writes: so much is lost in a kill
_ROWS = 1000  # of the index that are read together
# Thumbnails, which are most of it, lie apart: they are seldom asked for.
_TABLES = {
    "files": "(path TEXT PRIMARY KEY, key TEXT, facts TEXT) WITHOUT ROWID",
    "thumbnails": "(path TEXT PRIMARY KEY, sha256 TEXT, thumbnail BLOB)",
}

Keep = Callable[[Path, str, "Facts"], None]


class Facts(NamedTuple):
    """What is known of a file."""

    sha256: str  # empty for a file that is refused
    problem: str | None = None  # why it is refused; then the rest is not known
    width: int = 0  # pixels, turned upright
    height: int = 0
    mode: str = ""  # as Pillow names the kind of its pixels
    bits: int = 8  # of one channel
    frames: int = 1
    rotated: bool = False  # by EXIF
    transparent: bool = False
    opaque: bool = True  # whether no pixel is really transparent
    lowest: int = 0  # value, as `mask_values` gives them
    brightest: int = 255
    grays: int = 3  # number of different values, 3 for more than two
    threshold: int = 1  # from which value on a pixel of a mask counts, 0 where the values are ambiguous
    marked: int = 0  # number of pixels from the threshold on
    thumbnail: bytes = b""  # gray values
    kept_in: "FactsIndex | None" = None  # holds the thumbnail, if it is not here


class FactsIndex:
    """The facts of the files of a dataset on disk, by path, each with a key that changes with the file.

    What lies here only saves time: an index that is missing, damaged, of another version or cannot be written is
    worth nothing, and nothing is raised.

    Parameters
    ----------
    path
        The file, a database of SQLite: what was written before a kill stays, and nothing is ever half written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, keys: Mapping[Path, str]) -> dict[Path, Facts]:
        """Return the facts of the files whose key is that which they had when they were kept, without thumbnails."""
        wanted = {str(path): (path, key) for path, key in keys.items()}
        found: dict[Path, Facts] = {}
        with suppress(sqlite3.Error, OSError, ValueError, TypeError), closing(self._open()) as database:
            rows = database.execute("SELECT path, key, facts FROM files")
            while some := rows.fetchmany(_ROWS):
                same = [(wanted[name][0], facts) for name, key, facts in some if wanted.get(name, ("", ""))[1] == key]
                values = json.loads(f"[{','.join(facts for _, facts in same)}]")
                for (path, _), of_file in zip(same, values, strict=True):
                    found[path] = Facts._make([*of_file, b"", self])
        return found

    def thumbnails(self, contents: Mapping[Path, str]) -> dict[Path, bytes]:
        """Return the thumbnails of files whose content has the same SHA-256 as when they were kept."""
        wanted = {str(path): (path, sha256) for path, sha256 in contents.items()}
        found: dict[Path, bytes] = {}
        with suppress(sqlite3.Error, OSError), closing(self._open()) as database:
            for name, sha256, thumbnail in database.execute("SELECT path, sha256, thumbnail FROM thumbnails"):
                if wanted.get(name, ("", ""))[1] == sha256:
                    found[wanted[name][0]] = thumbnail
        return found

    def forget_others(self, files: Collection[Path]) -> None:
        """Remove what is known of files that are not among ``files``."""
        names = {str(path) for path in files}
        with suppress(sqlite3.Error, OSError), closing(self._open()) as database, database:
            gone = [(name,) for (name,) in database.execute("SELECT path FROM files") if name not in names]
            for table in _TABLES:
                database.executemany(f"DELETE FROM {table} WHERE path = ?", gone)

    @contextmanager
    def keeping(self) -> Iterator[Keep]:
        """Give a function that keeps the facts of a file; they are written every few seconds, and at the end."""
        waiting: list[tuple[str, str, str]] = []
        thumbnails: list[tuple[str, str, bytes]] = []
        written = time.monotonic()

        def write() -> None:
            nonlocal written
            with suppress(sqlite3.Error, OSError), closing(self._open()) as database, database:
                for table, rows in (("files", waiting), ("thumbnails", thumbnails)):
                    database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)
            waiting.clear()
            thumbnails.clear()
            written = time.monotonic()

        def keep(path: Path, key: str, facts: Facts) -> None:
            *values, thumbnail, _ = facts
            waiting.append((str(path), key, json.dumps(values)))
            thumbnails.append((str(path), facts.sha256, thumbnail))
            if time.monotonic() - written > _SECONDS:
                write()

        try:
            yield keep
        finally:
            write()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._with_table()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, or on a disk that cannot be written
                raise
            self._path.unlink(missing_ok=True)  # damaged
            return self._with_table()

    def _with_table(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path)
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                with database:
                    for table, columns in _TABLES.items():
                        database.execute(f"DROP TABLE IF EXISTS {table}")
                        database.execute(f"CREATE TABLE {table} {columns}")
                    database.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            database.close()
            raise
        return database

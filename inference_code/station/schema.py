"""The tables of a station's ledger, and their rows as Python has them."""

from dataclasses import dataclass

from training_code.data.corrected import LEDGER as LEDGER  # whoever reads the ledger asks for it here

#: What becomes of photographs.
WAITING, FOUND, UNREADABLE, DOUBLED, LATE, UNKNOWN = "waiting", "found", "unreadable", "doubled", "late", "unknown"
#: States of photographs that their part is judged by.
OF_VIEWS = (WAITING, FOUND, UNREADABLE)
_FIRST = """
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    folder TEXT NOT NULL UNIQUE,
    opened REAL NOT NULL,
    judged REAL,
    verdict TEXT,
    reason TEXT,
    score REAL,
    p_value REAL,
    number INTEGER UNIQUE,
    filed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX part_names ON parts (name);
CREATE UNIQUE INDEX open_parts ON parts (name) WHERE verdict IS NULL;
CREATE TABLE photographs (
    id INTEGER PRIMARY KEY,
    part INTEGER REFERENCES parts (id),
    view TEXT,
    source TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    came REAL NOT NULL,
    state TEXT NOT NULL,
    run TEXT,
    score REAL,
    threshold REAL,
    scaled REAL,
    p_value REAL,
    abnormal INTEGER,
    regions INTEGER,
    error TEXT,
    place TEXT NOT NULL UNIQUE,
    moved INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX photographs_of_parts ON photographs (part);
CREATE UNIQUE INDEX views ON photographs (part, view) WHERE state IN ('waiting', 'found', 'unreadable');
CREATE UNIQUE INDEX sources ON photographs (source) WHERE NOT moved;
CREATE TABLE sinks (name TEXT PRIMARY KEY, delivered INTEGER NOT NULL);
"""
_SECOND = """
ALTER TABLE photographs ADD COLUMN appearance TEXT;
CREATE TABLE corrections (
    id INTEGER PRIMARY KEY,
    part INTEGER NOT NULL REFERENCES parts (id),
    verdict TEXT,
    person TEXT NOT NULL,
    at REAL NOT NULL,
    note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX corrections_of_parts ON corrections (part);
CREATE INDEX parts_by_time ON parts (judged);
CREATE INDEX bad_parts ON parts (number) WHERE verdict = 'bad';
CREATE INDEX states ON photographs (state);
CREATE INDEX verdicts ON parts (verdict);
CREATE INDEX unfiled ON parts (id) WHERE NOT filed;
CREATE TABLE watches (name TEXT PRIMARY KEY, state TEXT NOT NULL, alarm REAL);
"""
#: The statements that make each version of the one before it, the first of nothing.
VERSIONS = [[each for each in text.split(";") if each.strip()] for text in (_FIRST, _SECOND)]


@dataclass(frozen=True)
class Part:
    """A part as the ledger has it; see the table ``parts``. Verdicts have numbers, from 1, in their order."""

    id: int
    name: str
    folder: str
    opened: float
    judged: float | None
    verdict: str | None
    reason: str | None
    score: float | None
    p_value: float | None
    number: int | None
    filed: bool


@dataclass(frozen=True)
class Entry:
    """A photograph as the ledger has it; see the table ``photographs``. ``appearance`` is JSON."""

    id: int
    part: int | None
    view: str | None
    source: str
    size: int
    modified: int
    came: float
    state: str
    run: str | None
    score: float | None
    threshold: float | None
    scaled: float | None
    p_value: float | None
    abnormal: bool | None
    regions: int | None
    error: str | None
    place: str
    moved: bool
    appearance: str | None = None


@dataclass(frozen=True)
class Correction:
    """What a person said of a part after its verdict; see the table ``corrections``. The last one of a part counts.

    Attributes
    ----------
    verdict
        ``good`` or ``bad``; None where the person takes earlier ones back.
    person
        Who said so.
    at
        Seconds since the epoch.
    """

    id: int
    part: int
    verdict: str | None
    person: str
    at: float
    note: str

"""``python -m inference_code.review DIR``: what people said of the parts that a station had judged.

Of a part the last correction counts; one that was taken back is not listed. Nothing is changed.
"""

import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from training_code.data.corrected import FALSE_ALARM, MISS, CorrectedPart, read_corrected
from training_code.foundation import paths
from training_code.foundation.columns import columns
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.files import atomic_path, no_formula
from training_code.foundation.program import command_parser

COLUMNS = ("part", "day", "station", "person said", "that is", "who", "when", "note", "folder")


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("inference_code.review", __doc__)
    parser.add_argument("station", metavar="DIR", help="the folder of the station, its --output")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table to a file, too")
    options = parser.parse_args(arguments)
    station = paths.expanded(options.station).absolute()
    file = None if options.csv is None else _file(options.csv, station)
    parts = read_corrected(station)
    rows = [_row(part) for part in parts]
    if rows:
        _print(rows)
    counts = Counter(part.kind for part in parts)
    others = len(parts) - counts[FALSE_ALARM] - counts[MISS]
    print(f"{counts[FALSE_ALARM]} false alarms, {counts[MISS]} misses, {others} others that people judged")
    if file is not None:
        _write(file, rows)
        print(f"written: {file}")
    return 0


def _file(given: Path, station: Path) -> Path:
    """Return where the table goes: never over what a station keeps, nor over what is no file."""
    file = paths.expanded(given).absolute()
    if file.resolve().is_relative_to(station.resolve()):
        raise InputError(f"--csv {given} lies in the folder of the station; valid: a file elsewhere")
    if not file.name or (file.exists() and not file.is_file()):
        raise InputError(f"--csv {given} is no file; valid: a file, which is made or replaced")
    return file


def _row(part: CorrectedPart) -> tuple[str, ...]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(part.at))
    found = part.found or "none yet"
    return (part.name, part.day, found, part.said, part.kind, part.person, moment, part.note, part.folder)


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    table = [COLUMNS, *(tuple(map(_printable, row)) for row in rows)]
    for line in columns(table):
        print(line)


def _printable(cell: str) -> str:
    """Return text in a line, without characters that a terminal obeys: names and notes come from the network."""
    return "".join(character for character in " ".join(cell.split()) if character.isprintable())


def _write(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *(map(no_formula, row) for row in rows)])


if __name__ == "__main__":
    sys.exit(run_command(main))

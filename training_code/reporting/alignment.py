"""Which rows and columns of a sheet are those that we wrote, wherever people moved them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from training_code.reporting.written import EMPTY, Written

# A column without its header, or a row without its key, is ours if so much of it is there.
_MOST = 0.8
_HALF = 0.5
# Pairs of rows that are compared at most, cell by cell.
_PAIRS = 200_000

#: Fingerprints of cells by row and column; empty cells are left out.
Prints = Mapping[tuple[int, int], str]


@dataclass(frozen=True)
class Alignment:
    """Where our rows and columns are.

    Attributes
    ----------
    rows, columns
        From where they are found to where they were written.
    share
        The part of what was written that is still there.
    """

    rows: dict[int, int]
    columns: dict[int, int]
    share: float


def align(found: Prints, written: Written) -> Alignment:
    """Find our rows and columns by what is in them."""
    wrote = {
        (row, column): value
        for row in range(1, len(written.rows) + 1)
        for column in range(1, written.width + 1)
        if (value := written.fingerprint(row, column)) != EMPTY
    }
    columns = _align_columns(found, wrote)
    by_written = {there: here for here, there in columns.items()}
    rows = _align_rows(
        {
            row: {columns[column]: value for column, value in cells.items() if column in columns}
            for row, cells in _rows(found)
        },
        dict(_rows(wrote)),
    )
    back = {there: here for here, there in rows.items()}
    same = sum(
        found.get((back.get(row, 0), by_written.get(column, 0))) == value for (row, column), value in wrote.items()
    )
    _add_blank_rows(rows, written, {row for row, _ in wrote})
    return Alignment(rows, columns, same / len(wrote) if wrote else 1.0)


def _rows(prints: Prints) -> Iterable[tuple[int, dict[int, str]]]:
    rows: dict[int, dict[int, str]] = defaultdict(dict)
    for (row, column), value in prints.items():
        rows[row][column] = value
    return sorted(rows.items())


def _align_columns(found: Prints, wrote: Prints) -> dict[int, int]:
    present: dict[int, Counter[str]] = defaultdict(Counter)
    ours: dict[int, Counter[str]] = defaultdict(Counter)
    for counters, prints in ((present, found), (ours, wrote)):
        for (row, column), value in prints.items():
            if row > 1 or counters is present:
                counters[column][value] += 1
    for _, column in wrote:
        ours[column]  # a column with nothing but its header
    pairs = []
    for there, values in ours.items():
        size = sum(values.values())
        header = wrote.get((1, there))
        for here, others in present.items():
            share = sum((values & others).values()) / size if size else 0.0
            same_header = header is not None and found.get((1, here)) == header
            if same_header or (share >= (_MOST if header else _HALF) and size):
                pairs.append((2 * share + same_header + 0.1 * (here == there), -abs(here - there), here, there))
    columns: dict[int, int] = {}
    for _, _, here, there in sorted(pairs, reverse=True):
        if here not in columns and there not in columns.values():
            columns[here] = there
    # A column of ours that people emptied but for less than half stays ours where its neighbors are.
    for there in sorted(ours.keys() - columns.values()):
        before = next((here for here, other in columns.items() if other == there - 1), None)
        if there in present and there not in columns and (before == there - 1 or there == 1):
            shared = sum((ours[there] & present[there]).values())
            if shared:
                columns[there] = there
    return columns


def _align_rows(found: dict[int, dict[int, str]], wrote: dict[int, dict[int, str]]) -> dict[int, int]:
    rows: dict[int, int] = {}
    present = set().union(*(cells.keys() for cells in found.values())) if found else set()
    free: dict[tuple, list[int]] = defaultdict(list)
    for there, cells in wrote.items():
        free[_key(cells, present)].append(there)
    for here, cells in found.items():
        same = free.get(_key(cells, present))
        if same and cells:
            rows[here] = same.pop(same.index(here) if here in same else 0)
    left = set(wrote.keys() - rows.values())
    # Those that people changed by a value that no other row has, as a key is; then by most of their values.
    values = Counter((column, value) for cells in wrote.values() for column, value in cells.items())
    only = {
        (column, value): there for there in left for column, value in wrote[there].items() if values[column, value] == 1
    }
    for here, cells in found.items():
        if here in rows:
            continue
        votes = Counter(only[pair] for pair in cells.items() if pair in only and only[pair] in left)
        if votes:
            rows[here] = votes.most_common(1)[0][0]
            left.remove(rows[here])
    for here, cells in found.items():  # first where it was written
        if here not in rows and here in left and _shared(cells, wrote[here]) >= _HALF:
            rows[here] = here
            left.remove(here)
    others = [here for here, cells in found.items() if here not in rows and cells]
    if len(others) * len(left) <= _PAIRS:
        for here in others:
            share, _, there = max(
                ((_shared(found[here], wrote[row]), -abs(here - row), row) for row in left), default=(0, 0, 0)
            )
            if share >= _HALF:
                rows[here] = there
                left.remove(there)
    return rows


def _key(cells: dict[int, str], present: set[int]) -> tuple:
    return tuple(sorted((column, value) for column, value in cells.items() if column in present))


def _shared(cells: dict[int, str], wrote: dict[int, str]) -> float:
    return sum(cells.get(column) == value for column, value in wrote.items()) / len(wrote)


def _add_blank_rows(rows: dict[int, int], written: Written, filled: set[int]) -> None:
    """Add the blank rows between ours: each follows the one before it."""
    back = {there: here for here, there in rows.items()}
    for there in range(1, len(written.rows) + 1):
        here = back.get(there - 1, 0) + 1 if there > 1 else 1
        if there not in filled and here not in rows and (there == 1 or there - 1 in back):
            rows[here], back[there] = there, here

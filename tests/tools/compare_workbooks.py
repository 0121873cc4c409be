"""``python tests/tools/compare_workbooks.py ONE OTHER``: whether two runs of a sweep came to the same, times aside.

Every sheet of both workbooks is read as a table. Columns of times, memory, machine and state of the code are left out,
and so are the sheets of pictures and of speed. Numbers are equal within ``--tolerance``, as a part of the larger one.
"""

import argparse
import re
import sys

import pandas as pd

#: What two runs of the same sweep do not share.
_MEASURED = re.compile(
    r"_s$|_s_|_h$|_per_s|bytes|ms an image|MB|hardware|host|device|created|finished|started|\bdate\b|commit|code|"
    r"sha256|fastest|least memory|smallest|executed|notebook|picture|checkpoint|version|^About|^Made"
)
#: Sheets that are no tables of results, or those of the program alone.
_LEFT_OUT = re.compile(r"^(About|Winner|Examples|Speed and size|training_code)$")


def main() -> int:
    """Print what differs; the exit status is 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workbooks", nargs=2)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    options = parser.parse_args()
    one, other = (pd.read_excel(path, sheet_name=None) for path in options.workbooks)
    found = [f"sheet {name} is in one of them only" for name in sorted(one.keys() ^ other.keys())]
    compared = 0
    for name in sorted(one.keys() & other.keys()):
        if not _LEFT_OUT.search(name):
            cells, sentences = differences(name, one[name], other[name], options.tolerance)
            compared, found = compared + cells, found + sentences
    for sentence in found[:50]:
        print(sentence)
    print(f"{compared} cells compared, {len(found)} differences")
    return 1 if found or not compared else 0


def differences(sheet: str, one: pd.DataFrame, other: pd.DataFrame, tolerance: float) -> tuple[int, list[str]]:
    """Return how many cells were compared, and a sentence for each that is not the same in two tables."""
    rows = "run_id" if "run_id" in one and "run_id" in other else None
    if rows:  # other runs before it move a run to another row
        one, other = (table.dropna(subset=rows).set_index(rows).sort_index() for table in (one, other))
    alone = [f"{sheet}: {run} is in one of them only" for run in sorted(set(one.index) ^ set(other.index))]
    one, other = (table[table.index.isin(match.index)] for table, match in ((one, other), (other, one)))
    if list(one.columns) != list(other.columns) or len(one) != len(other):
        return 0, [*alone, f"{sheet}: {one.shape} and {other.shape} cells, or other columns"]
    columns = [column for column in one if not _MEASURED.search(str(column))]
    sentences = [
        f"{sheet}, {column}, {row if rows else f'row {row + 2}'}: {left} and {right}"
        for column in columns
        for row, left, right in zip(one.index, one[column], other[column], strict=True)
        if not _same(left, right, tolerance)
    ]
    return len(columns) * len(one), alone + sentences


def _same(left: object, right: object, tolerance: float) -> bool:
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        both_missing = bool(pd.isna(left) and pd.isna(right))
        return both_missing or abs(left - right) <= tolerance * max(abs(left), abs(right))
    return bool(left == right)


if __name__ == "__main__":
    sys.exit(main())

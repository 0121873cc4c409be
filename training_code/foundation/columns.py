"""Rows of text in columns, as terminals show them."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

_GAP = "  "


def columns(rows: Sequence[Sequence[str]], width: int | None = None) -> Iterator[str]:
    """Yield lines in which the cells of each column begin below each other.

    Parameters
    ----------
    rows
        The header and all others, each with as many cells.
    width
        Characters of a line: the widest columns become narrower, and what stands in them goes on in the next line, but
        neither a word is parted nor what no-break spaces hold together. None where lines may be of any length.
    """
    by_column = [*zip(*rows, strict=True)]
    widths = [max(map(len, cells)) for cells in by_column]
    least = [max(1, *(len(word) for cell in cells for word in cell.split(" "))) for cells in by_column]
    while width is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        wide = [index for index, most in enumerate(least) if widths[index] > most]
        if not wide:
            break
        widths[max(wide, key=lambda index: widths[index])] -= 1
    for row in rows:
        cells = [_lines(cell, most) for cell, most in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            yield _GAP.join(text.ljust(most) for text, most in zip(line, widths, strict=True)).rstrip()


def _lines(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]

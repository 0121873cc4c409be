"""Names of sheets that every spreadsheet allows."""

import re
from collections.abc import Sequence

_LONGEST_NAME, _NOT_IN_NAMES = 31, re.compile(r"[\[\]:*?/\\]")


def sheet_name(name: str, taken: Sequence[str]) -> str:
    """Return a name that a spreadsheet allows and that is not taken."""
    clean = _NOT_IN_NAMES.sub("_", name).strip("'")
    candidate, number = clean[:_LONGEST_NAME], 1
    while candidate.lower() in {other.lower() for other in taken}:
        number += 1
        candidate = f"{clean[: _LONGEST_NAME - 4]} {number}"
    return candidate

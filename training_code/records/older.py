"""What records held otherwise before, brought into the form of today when they are read.

Only here the words of a sentence decide anything: older records have nothing else.
"""

import re
from typing import Any

#: The kind of a finding that was kept as a sentence alone and is no leak.
UNKNOWN = "unknown"
# The whole sentence, as it was written about the first of the files of which it was true, and the number of the others.
_LEAK = re.compile(r".+ has the content of a training image: a leak \(.+\)(?: \(and [0-9]+ others\))?")


def finding_of(note: Any) -> Any:
    """Return a note about a dataset as the plain data of a finding; what is no sentence stays as it is."""
    if not isinstance(note, str):
        return note
    return {"kind": "leak" if _LEAK.fullmatch(note) else UNKNOWN, "message": note}

"""Reading the lines again that a prediction wrote."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference_code.output import LINES


def read_predictions(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of ``predictions.jsonl`` in a folder, one an image: its last one where it was predicted again.

    Lines of images that could not be read are left out. One line at a time is in memory.
    """
    last = {row["path"]: number for number, row in _lines(folder)}
    yield from (row for number, row in _lines(folder) if last[row["path"]] == number)


def _lines(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(folder / LINES, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            if "error" not in row:
                yield number, row

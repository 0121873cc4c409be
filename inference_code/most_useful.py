"""Which images are worth labeling next: those on which runs disagree or near the threshold, and no two alike."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_code.output import harmless
from training_code.data.facts import Facts
from training_code.data.inspection import THUMBNAIL, inspect_file
from training_code.data.likeness import alike_pairs
from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path

TABLE = "most_useful.csv"
COLUMNS = ("rank", "path", "reason", "score", "distance", "other_score")
#: Reasons for which an image is picked.
DISAGREEMENT, NEAR = "the runs disagree", "it is near the threshold"
# Candidates that are compared with each other: so many for each one that is picked, and this number at least.
_FOR_EACH, _LEAST = 4, 64


@dataclass(frozen=True)
class Verdict:
    """What a run says of an image."""

    score: float  # raw
    threshold: float

    @property
    def abnormal(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True)
class Candidate:
    """An image that could be labeled."""

    path: str
    reason: str
    score: float  # raw
    distance: float  # from the threshold, in interquartile ranges of the scores
    other_score: float | None  # of the run that it is compared with


def rank(verdicts: Mapping[str, Verdict], others: Mapping[str, Verdict] | None = None) -> list[Candidate]:
    """Return images, the most useful first.

    First those that one run calls normal and the other one abnormal, the widest disagreement first; then the others, as
    near as their scores are to the threshold. Distances are divided by the interquartile range of all scores, so that
    those of two runs can be compared.

    Parameters
    ----------
    verdicts
        By the path of the image.
    others
        Those of another run, for the images that it could read.

    Examples
    --------
    >>> [each.path for each in rank({"a": Verdict(1, 3), "b": Verdict(4, 3), "c": Verdict(3.5, 3)})]
    ['c', 'b', 'a']
    """
    margins, other_margins = _margins(verdicts), _margins(others or {})
    ranked = []
    for path, verdict in verdicts.items():
        other = (others or {}).get(path)
        disagree = other is not None and other.abnormal != verdict.abnormal
        width = abs(margins[path] - other_margins[path]) if disagree else 0.0
        reason = DISAGREEMENT if disagree else NEAR
        distance = abs(margins[path])
        ranked.append(
            (-width, distance, Candidate(path, reason, verdict.score, distance, other.score if other else None))
        )
    return [candidate for *_, candidate in sorted(ranked, key=lambda each: (*each[:2], each[2].path))]


def _margins(verdicts: Mapping[str, Verdict]) -> dict[str, float]:
    """Return how far each score lies above the threshold, in interquartile ranges of the scores."""
    if not verdicts:
        return {}
    scores = np.array([verdict.score for verdict in verdicts.values()])
    low, high = np.percentile(scores, [25, 75])
    spread = float(high - low) or float(scores.std()) or 1.0
    return {path: (verdict.score - verdict.threshold) / spread for path, verdict in verdicts.items()}


def choose(candidates: Sequence[Candidate], count: int, earlier: Sequence[Path] = ()) -> list[Candidate]:
    """Return the first ``count`` candidates of which none looks like another one or like an earlier image.

    Parameters
    ----------
    candidates
        As `rank` returns them.
    earlier
        Images that were picked before: neither they nor what looks like them is picked again.
    """
    known = {os.path.abspath(path) for path in earlier}
    left = [each for each in candidates if os.path.abspath(each.path) not in known]
    before = _inspect([path for path in earlier if path.is_file()])
    facts: dict[Path, Facts] = {}
    size = min(len(left), max(_FOR_EACH * count, _LEAST))
    while True:
        pool = left[:size]
        facts |= _inspect([Path(each.path) for each in pool if Path(each.path) not in facts])
        picked = _apart(pool, [facts[Path(each.path)] for each in pool], list(before.values()))[:count]
        if len(picked) == count or size == len(left):
            return picked
        size = min(2 * size, len(left))


def _inspect(paths: Sequence[Path]) -> dict[Path, Facts]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(zip(paths, pool.map(inspect_file, paths), strict=True))


def _apart(candidates: Sequence[Candidate], own: Sequence[Facts], before: Sequence[Facts]) -> list[Candidate]:
    """Return the candidates that look neither like an earlier one nor like one of ``before``."""
    facts = [*before, *own]
    shown = [number for number, each in enumerate(facts) if each.thumbnail]
    alike: dict[int, set[int]] = {number: set() for number in range(len(facts))}
    for one, other, _ in alike_pairs([_thumbnail(facts[number]) for number in shown]):
        alike[shown[other]].add(shown[one])
        alike[shown[one]].add(shown[other])
    taken = {*range(len(before))}
    contents = {each.sha256 for each in before}
    picked = []
    for number, candidate in enumerate(candidates, len(before)):
        content = facts[number].sha256
        if alike[number] & taken or (content and content in contents):
            continue
        taken.add(number)
        contents.add(content)
        picked.append(candidate)
    return picked


def _thumbnail(facts: Facts) -> NDArray[np.uint8]:
    return np.frombuffer(facts.thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL)


def read_picked(tables: Iterable[Path]) -> list[Path]:
    """Return the images that earlier tables name.

    Raises
    ------
    InputError
        If a table cannot be read or has no column ``path``.
    """
    found: list[Path] = []
    for table in tables:
        try:
            with open(table, newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                if "path" not in (reader.fieldnames or ()):
                    raise InputError(f"{table} has no column path; valid for --not-again: an earlier {TABLE}")
                found += [Path(row["path"]) for row in reader if row["path"]]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{table} cannot be read: {error}") from error
    return found


def write_most_useful(folder: Path, picked: Sequence[Candidate]) -> Path:
    """Write ``most_useful.csv`` into a folder and return its path."""
    # Names of files may hold bytes that are no characters.
    with (
        atomic_path(folder / TABLE) as temporary,
        open(temporary, "x", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, each in enumerate(picked, 1):
            row = (number, harmless(each.path), each.reason, each.score, f"{each.distance:.4g}", each.other_score)
            writer.writerow(row)
    return folder / TABLE

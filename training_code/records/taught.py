"""What a record keeps of good images that a detector took in after training."""

import datetime
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, FiniteFloat

#: The folder in that of a run with the taught detector: a record, a checkpoint and scores of its own, and the images.
TAUGHT, IMAGES = "taught", "images"


def _moment(text: str) -> str:
    datetime.datetime.fromisoformat(text)  # raises a ValueError
    return text


Moment = Annotated[str, AfterValidator(_moment)]  # ISO 8601 with time zone


@dataclass(frozen=True)
class TaughtImage:
    """A good image that was taught.

    Attributes
    ----------
    sha256
        Of its content.
    name
        Of its copy in `IMAGES`.
    source
        Where it came from.
    part
        Images of one part have one name here; where parts are not known, each image is one.
    at
        When.
    score
        What the detector said of it before anything was taught.
    left_out
        What it says without the images of this part and copies of it; None where images are not left out.
    """

    sha256: str
    name: str
    source: str
    part: str
    at: Moment
    score: FiniteFloat | None = None
    left_out: FiniteFloat | None = None


@dataclass(frozen=True)
class BeforeAndAfter:
    """What teaching changed on labelled images that were not taught.

    Attributes
    ----------
    images
        Of which dataset they are.
    good, defective
        How many there are.
    left_out
        How many others are left out since they were taught, or show what was: the same part, if that is known, or
        nearly the same.
    false_alarms, misses
        Before and after.
    """

    images: str
    good: int
    defective: int
    left_out: int
    false_alarms: tuple[int, int]
    misses: tuple[int, int]


@dataclass(frozen=True)
class Taught:
    """What a detector was taught.

    Thresholds and reports are of the rule that was in force then: ``anomaly rethreshold`` leaves them as they are.

    Attributes
    ----------
    images
        In the order in which they came.
    weight
        How many times each counts, where that makes a difference.
    patches
        How many of theirs the memory bank took in; None where they went into sums.
    thresholds
        The one of images before, and after.
    reports
        On the test images of the run first.
    """

    images: tuple[TaughtImage, ...]
    weight: int
    patches: int | None
    thresholds: tuple[FiniteFloat | None, FiniteFloat | None]
    reports: tuple[BeforeAndAfter, ...]

    @property
    def refused(self) -> tuple[int, int | None]:
        """How many of the images were refused before, and would be now, each without the images of its part."""
        before, after = self.thresholds
        first = sum(before is not None and each.score is not None and each.score >= before for each in self.images)
        known = [each.left_out for each in self.images if each.left_out is not None]
        return first, sum(after is not None and score >= after for score in known) if known else None

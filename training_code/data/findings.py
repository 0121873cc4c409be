"""What people should know about a dataset: of which kind it is, in what words it is told, what is done about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: What a finding is about. Whoever decides anything by a finding decides by its kind, never by its words.
Kind = Literal[
    "held out",  # defect-free images were taken from the training images for testing
    "leak",  # a test image is also a training image
    "duplicate",
    "near leak",  # a test image looks like a training image
    "near duplicate",
    "unreadable",
    "conversion",  # the pixels are read in another form than that of the file
    "no image",  # by its name
    "misplaced",  # an image outside of the folders that are read
    "mask without image",
    "image without mask",
    "ambiguous mask",  # two masks of an image, or two images of a mask
    "mask size",
    "mask values",
    "full mask",
    "empty mask",
    "name",
    "link",
]
Treatment = Literal["refused", "converted", "kept", "skipped"]


@dataclass(frozen=True)
class FileFinding:
    """A finding about a single file, and what is done with the file."""

    path: Path
    kind: Kind
    what: str  # as it follows the name of the file in a sentence
    treatment: Treatment
    other: Path | None = None  # a file that it is about too


@dataclass(frozen=True)
class Finding:
    """What people should know who read numbers of a dataset; records hold it as plain data."""

    kind: Kind
    message: str  # a sentence

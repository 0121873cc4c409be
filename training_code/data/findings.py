"""What people should know about a dataset: its kind, its wording, and what is done about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: What a finding is about. Code that depends on a finding goes by its kind, never by its wording.
Kind = Literal[
    "no good images",  # to test on, where good ones would be compared with themselves
    "held out",  # defect-free images were taken from the training images for testing
    "leak",  # a test image is also a training image
    "sibling",  # a test image shows a part that training images show too
    "duplicate",
    "near leak",  # a test image looks like a training image
    "near duplicate",
    "unreadable",
    "conversion",  # the pixels are converted when the file is read
    "few images",  # to train on
    "no image",  # by its name or content
    "misplaced",  # an image outside of the folders that are read
    "unread images",  # beside the folders of the layout, or of a kind that is not read
    "published layout",  # an adapter reads more of the folder
    "left out",  # by an adapter, which knows why
    "excluded",  # by people, in exclude.csv
    "contaminated",  # training images that show defects, as the protocol asks
    "license",  # under which its images are published
    "annotations",  # of a labeling program, not read
    "foreign description",  # a dataset.yaml of another program
    "mask among images",
    "mask of a good image",
    "mask without image",
    "image without mask",
    "ambiguous mask",  # two masks of an image, or two images of a mask
    "mask size",
    "mask values",
    "mask threshold",  # from which value on a pixel counts as defect was found
    "inverted mask",  # marks most of its image
    "full mask",
    "empty mask",
    "image without reference",
    "ambiguous reference",
    "unused reference",
    "own reference",  # a good image that is its own golden sample
    "reference size",
    "region",  # of what is looked at
    "defect outside",  # a defect of which nothing is looked at
    "name",
    "link",
]
#: Kinds of findings that make numbers too good; runs on such a dataset are marked with them.
MARKED_KINDS: tuple[Kind, ...] = ("leak", "sibling")
Treatment = Literal["refused", "converted", "kept", "skipped"]


@dataclass(frozen=True)
class FileFinding:
    """A finding about a single file, and what is done with the file."""

    path: Path
    kind: Kind
    what: str  # as it follows the name of the file in a sentence
    treatment: Treatment
    other: Path | None = None  # another file that it is about


def is_missing(finding: FileFinding) -> bool:
    """Return whether a finding is about images, masks or labels that are not read but may have been meant to be."""
    return finding.treatment == "skipped" and finding.kind not in ("no image", "left out", "excluded")


@dataclass(frozen=True)
class Finding:
    """A note for readers of numbers on a dataset; records hold it as plain data."""

    kind: Kind
    message: str  # a sentence

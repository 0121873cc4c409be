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
    "few images",  # to train on
    "no image",  # by its name or content
    "misplaced",  # an image outside of the folders that are read
    "unread images",  # beside the folders of the layout, or of a kind that is not read
    "published layout",  # an adapter reads more of the folder
    "left out",  # by an adapter, which knows why
    "annotations",  # of labelme or COCO, not read
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


def is_missing(finding: FileFinding) -> bool:
    """Return whether a finding says that images, masks or labels are not read that may have been meant to be."""
    return finding.treatment == "skipped" and finding.kind not in ("no image", "left out")


@dataclass(frozen=True)
class Finding:
    """What people should know who read numbers of a dataset; records hold it as plain data."""

    kind: Kind
    message: str  # a sentence

"""An image of a dataset: the part that it is in, its defect, its mask; the same for every layout."""

from dataclasses import dataclass
from pathlib import Path

from training_code.data.boxes import Box
from training_code.foundation.errors import InputError, choices, suggestion

NORMAL = "good"
# Names, in small letters, of a folder of defect-free images in the MVTec layout, and of such images in lists.
NORMAL_NAMES = ("good", "normal", "ok")
#: The parts of a dataset. Labelled images are taken out of the test set by the protocol; those for validation lie in a
#: folder of their own. Unused are labelled and training images that the protocol does not look at.
TRAIN, VALIDATION, LABELLED, UNUSED, TEST = SPLITS = ("train", "validation", "labelled", "unused", "test")
#: The parts that people name in lists of files and in shards.
NAMED_SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Sample:
    """One image of a dataset."""

    path: Path
    split: str  # one of `SPLITS`
    defect_type: str  # `NORMAL` or the name of the defect
    mask: Path | None = None
    reference: Path | None = None  # the golden sample that it is compared with
    boxes: tuple[Box, ...] = ()  # the types of its defects by place, where it has several

    @property
    def abnormal(self) -> bool:
        """Whether the image shows a defect."""
        return self.defect_type != NORMAL


@dataclass(frozen=True)
class Listed:
    """The images that a list of files or shards name.

    Attributes
    ----------
    samples
        Sorted by path.
    good_masks
        Masks of defect-free images: they should mark nothing.
    groups
        Of the images that were given one.
    """

    samples: list[Sample]
    good_masks: list[Path]
    groups: dict[Path, str]


def listed_sample(where: str, path: Path, split: str, defect: str, mask: Path | None) -> Sample:
    """Return an image that a list or a shard names; ``where`` begins the sentence of an error.

    Raises
    ------
    InputError
        If the part is unknown, or the part, the defect and the mask contradict each other.
    """
    if split not in NAMED_SPLITS:
        hint = suggestion(split, NAMED_SPLITS)
        raise InputError(f"{where} has the split {split!r}{hint}; valid: {choices(NAMED_SPLITS)}")
    kind = NORMAL if not defect or defect.lower() in NORMAL_NAMES else defect
    if "/" in kind or "\\" in kind or not kind.isprintable():
        raise InputError(f"{where} has the defect {defect!r}; valid: a name without slashes, or {NORMAL}")
    if split == TRAIN and kind != NORMAL:
        raise InputError(
            f"{where} has the defect {defect!r} and the split {TRAIN}, where all images are {NORMAL}; valid for a "
            f"defect: {VALIDATION}, {TEST}"
        )
    if mask is not None and not defect:
        raise InputError(f"{where} has a mask and no defect; valid: its name, or {NORMAL}")
    return Sample(path, split, kind, mask)

"""The magnetic tile dataset: Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", 2018.

Published as ``MT_Free/Imgs/*.jpg`` (defect-free) and ``MT_<Defect>/Imgs/*.jpg``, each image beside a ``.png`` of the
same name: its mask, with soft edges.
"""

from pathlib import Path

from training_code.data.adapters.copying import Target, split_good
from training_code.data.layout import NORMAL
from training_code.foundation.errors import InputError

TRAIN = 100  # defect-free images for training, the others are for testing
#: Gray value from which on a pixel of a published mask is part of the defect.
MASK_THRESHOLD = 128


def prepare_magnetic_tile(source: Path, target: Target) -> None:
    """Bring the dataset into ``target``, with binary masks."""
    free = sorted((source / "MT_Free" / "Imgs").glob("*.jpg"))
    if len(free) <= TRAIN:
        raise InputError(
            f"{source / 'MT_Free' / 'Imgs'} holds {len(free)} images; more than {TRAIN} are needed, as published"
        )
    for image, split in split_good(free, len(free) - TRAIN):
        target.add(image, split, NORMAL)
        if (mask := image.with_suffix(".png")).is_file():
            target.check_good(mask)
    for folder in sorted(source.glob("MT_*/Imgs")):
        defect_type = folder.parent.name.removeprefix("MT_").lower()
        if defect_type == "free":
            continue
        for image in sorted(folder.glob("*.jpg")):
            target.add_mask(
                target.read_mask(image.with_suffix(".png"), MASK_THRESHOLD), target.add(image, "test", defect_type)
            )

"""The magnetic tile dataset: Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", 2018.

Published as ``MT_Free/Imgs/*.jpg`` (defect-free) and ``MT_<Defect>/Imgs/*.jpg``, each image beside a ``.png`` of the
same name: its mask, with soft edges.
"""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from training_code.errors import InputError

TRAIN = 100  # defect-free images for training, the others are for testing
#: Grey value from which on a pixel of a published mask is part of the defect.
MASK_THRESHOLD = 128


def prepare_magnetic_tile(source: Path, destination: Path) -> None:
    """Copy the dataset from ``source`` to ``destination`` in MVTec layout, with binary masks.

    Which of the defect-free images are for training is drawn with a fixed seed: the same for everybody.
    """
    free = sorted((source / "MT_Free" / "Imgs").glob("*.jpg"))
    if len(free) <= TRAIN:
        raise InputError(
            f"{source / 'MT_Free' / 'Imgs'} holds {len(free)} images; more than {TRAIN} are needed, as published"
        )
    order = np.random.default_rng(0).permutation(len(free))
    for position, index in enumerate(order):
        _copy(free[index], destination / ("train" if position < TRAIN else "test") / "good")
    for folder in sorted(source.glob("MT_*/Imgs")):
        defect_type = folder.parent.name.removeprefix("MT_").lower()
        if defect_type == "free":
            continue
        for image in sorted(folder.glob("*.jpg")):
            _copy(image, destination / "test" / defect_type)
            mask = image.with_suffix(".png")
            if not mask.is_file():
                raise InputError(f"{image} has no mask: expected {mask.name} beside it")
            target = destination / "ground_truth" / defect_type
            target.mkdir(parents=True, exist_ok=True)
            with Image.open(mask) as grey:
                binary = np.asarray(grey.convert("L")) >= MASK_THRESHOLD
            Image.fromarray(binary.astype(np.uint8) * 255).save(target / f"{image.stem}_mask.png")


def _copy(image: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, folder / image.name)

"""The embedded dataset ``textures``: crops of scikit-image's photographs of brick, gravel and grass, with defects.

No two crops overlap, so that neither the test images nor those held out for thresholds have been seen in training.
Training crops come from the left half of each photograph, test crops from the right half; defects are painted on test
crops. A mask holds exactly the pixels that a defect has been painted on.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import data as photographs
from skimage.draw import bezier_curve, ellipse

TEXTURES = ("brick", "gravel", "grass")
CROP = 128  # pixels
ENLARGEMENT = 2  # the photographs are 512 × 512 pixels
GOOD_PER_TEXTURE = 12  # of the 32 test crops of each texture
DEFECTIVE_PER_TEXTURE = 5  # for each of the four defect types

Gray = NDArray[np.float64]  # (CROP, CROP), gray values from 0 to 255
Defect = Callable[[Gray, np.random.Generator, Gray], tuple[Gray, Gray]]


def write_textures(root: Path, seed: int = 0) -> None:
    """Write the dataset to ``root`` in MVTec layout; the same seed gives the same bytes."""
    generator = np.random.default_rng(seed)
    photos = {name: ndimage.zoom(getattr(photographs, name)().astype(float), ENLARGEMENT) for name in TEXTURES}
    for name, photo in photos.items():
        middle = photo.shape[1] // 2
        for index, crop in enumerate(_crops(photo[:, :middle], generator)):
            _save(root / "train" / "good" / f"{name}_{index:03d}.png", _light(crop, generator))
        test = iter(_crops(photo[:, middle:], generator))
        for index, crop in enumerate(itertools.islice(test, GOOD_PER_TEXTURE)):
            _save(root / "test" / "good" / f"{name}_{index:03d}.png", _light(crop, generator))
        foreign = photos[TEXTURES[(TEXTURES.index(name) + 1) % len(TEXTURES)]]
        for defect_type, paint in DEFECTS.items():
            for index, crop in enumerate(itertools.islice(test, DEFECTIVE_PER_TEXTURE)):
                image, mask = paint(_light(crop, generator), generator, _crops(foreign[:, middle:], generator)[0])
                _save(root / "test" / defect_type / f"{name}_{index:03d}.png", image)
                _save(root / "ground_truth" / defect_type / f"{name}_{index:03d}_mask.png", mask * 255)


def _crops(photo: Gray, generator: np.random.Generator) -> list[Gray]:
    """Cut a photograph into crops that do not overlap, in random order."""
    height, width = photo.shape
    crops = [
        photo[top : top + CROP, left : left + CROP]
        for top in range(0, height - CROP + 1, CROP)
        for left in range(0, width - CROP + 1, CROP)
    ]
    return [crops[index] for index in generator.permutation(len(crops))]


def _light(crop: Gray, generator: np.random.Generator) -> Gray:
    """Vary brightness and contrast a little, as a lamp does."""
    mean = crop.mean()
    return (crop - mean) * generator.uniform(0.92, 1.08) + mean + generator.uniform(-8, 8)


def _blend(crop: Gray, paint: Gray | float, alpha: Gray) -> tuple[Gray, Gray]:
    """Lay ``paint`` over ``crop`` where ``alpha`` is above 0; return the image and the mask of 0 and 1."""
    return crop * (1 - alpha) + paint * alpha, (alpha > 0).astype(float)


def _scratch(crop: Gray, generator: np.random.Generator, _: Gray) -> tuple[Gray, Gray]:
    """Draw a thin curved line, lighter or darker than the ground."""
    points = generator.integers(12, CROP - 12, size=(3, 2))
    points[2] = np.clip(points[0] + generator.choice([-1, 1], 2) * generator.integers(25, 60, 2), 4, CROP - 5)
    line = np.zeros_like(crop, dtype=bool)
    (r0, c0), (r1, c1), (r2, c2) = points
    line[bezier_curve(r0, c0, r1, c1, r2, c2, weight=0.7, shape=crop.shape)] = True
    line = ndimage.binary_dilation(line, iterations=int(generator.integers(1, 3)))
    shade = np.clip(crop.mean() + generator.choice([-1, 1]) * generator.uniform(70, 120), 0, 255)
    return _blend(crop, shade, line * generator.uniform(0.7, 1))


def _stain(crop: Gray, generator: np.random.Generator, _: Gray) -> tuple[Gray, Gray]:
    """Darken an irregular area, so that the texture still shows through."""
    noise = ndimage.gaussian_filter(generator.standard_normal(crop.shape), 8)
    rows, columns = np.indices(crop.shape)
    center, radius = generator.integers(30, CROP - 30, 2), generator.uniform(12, 22)
    distance = np.hypot(rows - center[0], columns - center[1]) / radius
    area = distance + 0.2 * noise / noise.std() < 1
    return _blend(crop, crop * generator.uniform(0.1, 0.3), area * generator.uniform(0.6, 0.9))


def _hole(crop: Gray, generator: np.random.Generator, _: Gray) -> tuple[Gray, Gray]:
    """Punch a small dark ellipse."""
    area = np.zeros_like(crop)
    (row, column), (rows, columns) = generator.integers(16, CROP - 16, 2), generator.uniform(5, 11, 2)
    area[ellipse(row, column, rows, columns, shape=crop.shape, rotation=generator.uniform(0, np.pi))] = 1
    return _blend(crop, generator.uniform(10, 40), area * generator.uniform(0.7, 0.95))


def _foreign_patch(crop: Gray, generator: np.random.Generator, foreign: Gray) -> tuple[Gray, Gray]:
    """Lay a piece of another texture on the ground, in the ground's own brightness."""
    area = np.zeros_like(crop)
    height, width = generator.integers(14, 30, 2)
    top, left = generator.integers(4, CROP - height - 4), generator.integers(4, CROP - width - 4)
    area[top : top + height, left : left + width] = 1
    return _blend(crop, foreign - foreign.mean() + crop.mean(), area)


DEFECTS: dict[str, Defect] = {"scratch": _scratch, "stain": _stain, "hole": _hole, "foreign_patch": _foreign_patch}


def _save(path: Path, image: Gray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(path)

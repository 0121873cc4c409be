"""Small datasets made by the tests."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 48  # pixels


def make_mvtec(
    root: Path, train: int = 12, good: int = 6, defective: int = 4, masks: bool = True, seed: int = 0
) -> Path:
    """Make smooth random images in MVTec layout with two defect types: bright squares and dark bars."""
    generator = np.random.default_rng(seed)
    for index in range(train):
        save(root / "train" / "good" / f"{index:03d}.png", texture(generator))
    for index in range(good):
        save(root / "test" / "good" / f"{index:03d}.png", texture(generator))
    for defect_type, value in (("square", 250), ("bar", 5)):
        for index in range(defective):
            image, mask = texture(generator), np.zeros((SIZE, SIZE), np.uint8)
            top, left = generator.integers(4, SIZE - 20, 2)
            mask[top : top + 12, left : left + (12 if defect_type == "square" else 4)] = 255
            image[mask > 0] = value
            save(root / "test" / defect_type / f"{index:03d}.png", image)
            if masks:
                save(root / "ground_truth" / defect_type / f"{index:03d}_mask.png", mask)
    return root


def texture(generator: np.random.Generator) -> np.ndarray:
    """Return a gray image of stripes with noise."""
    stripes = 120 + 40 * np.sin(np.arange(SIZE) / 3 + generator.uniform(0, 6))
    return np.clip(stripes + generator.normal(0, 8, (SIZE, SIZE)), 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    """Write an image, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def add_validation(root: Path, defective: int = 2) -> Path:
    """Add labelled images of both defect types to a folder of `make_mvtec`, in ``validation/``; return the folder."""
    made = make_mvtec(root / "made", train=0, good=0, defective=defective, seed=1)
    for index, (defect_type, number) in enumerate((kind, n) for kind in ("square", "bar") for n in range(defective)):
        image = np.asarray(Image.open(made / "test" / defect_type / f"{number:03d}.png"))
        save(root / "validation" / defect_type / f"v{index:03d}.png", image)
        mask = np.asarray(Image.open(made / "ground_truth" / defect_type / f"{number:03d}_mask.png"))
        save(root / "validation" / "ground_truth" / defect_type / f"v{index:03d}.png", mask)
    shutil.rmtree(made)
    return root

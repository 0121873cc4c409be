"""Images changed together with their masks: the same geometry for both, and synthetic anomalies with masks.

``python -m training_code.data.masks.mask_augmentation DATASET DST`` writes a dataset whose test images are good
training images with synthetic anomalies, to examine a detector where there are no real defects.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anomalib.data.utils.generators.perlin import generate_perlin_noise
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import bezier_curve, disk
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import affine
from tqdm import tqdm

from training_code.data.dataset import LEAST_TRAINING, read_dataset
from training_code.data.images import read_image
from training_code.data.layout import NORMAL
from training_code.foundation.errors import InputError, run_command, unknown
from training_code.foundation.files import atomic_path

Pixels = NDArray[np.uint8]  # (height, width, 3)
Marked = NDArray[np.bool_]  # (height, width), True where the anomaly is
Anomaly = Callable[[Pixels, np.random.Generator, Pixels], tuple[Pixels, Marked]]


@dataclass(frozen=True)
class Limits:
    """How far an image and its mask are moved at most.

    Attributes
    ----------
    degrees
        Largest angle, to both sides.
    shift
        Largest shift, as a part of the sides.
    scale
        Largest change of size, as a part.
    flips
        Whether the image may be mirrored, and turned upside down.
    """

    degrees: float = 10
    shift: float = 0.05
    scale: float = 0.1
    flips: bool = True


LIMITS = Limits()


def transform_pair(
    image: Pixels, mask: Marked, generator: np.random.Generator, limits: Limits = LIMITS
) -> tuple[Pixels, Marked]:
    """Return an image and its mask after the same random flip, rotation, shift and enlargement.

    Parameters
    ----------
    image, mask
        uint8 of shape (height, width, 3) and bool of shape (height, width).
    generator
        Draws the transform.
    limits
        How far it goes.

    Returns
    -------
    tuple
        The image, interpolated, with mirrored pixels beyond its borders, and the mask, interpolated to the nearest
        pixel.

    Examples
    --------
    A white square and its mark move to the same place.

    >>> image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
    >>> image[10:26, 20:36], mask[10:26, 20:36] = 255, True
    >>> moved, marked = transform_pair(image, mask, np.random.default_rng(0))
    >>> distance = np.argwhere(moved[..., 0] > 127).mean(axis=0) - np.argwhere(marked).mean(axis=0)
    >>> bool(np.abs(distance).max() < 0.5)
    True
    """
    height, width = mask.shape
    for axis in (0, 1) if limits.flips else ():
        if generator.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    angle = float(generator.uniform(-limits.degrees, limits.degrees))
    translate = [round(float(generator.uniform(-limits.shift, limits.shift)) * side) for side in (width, height)]
    size = 1 + float(generator.uniform(-limits.scale, limits.scale))
    # The margin shows what lies beyond the borders after the transform.
    margin = [(side // 2, side // 2) for side in (height, width)]
    moved = []
    for pixels, interpolation in ((image, InterpolationMode.BILINEAR), (mask[..., None], InterpolationMode.NEAREST)):
        padded = np.pad(pixels.astype(np.uint8), [*margin, (0, 0)], mode="symmetric")
        tensor = affine(
            torch.from_numpy(padded).movedim(2, 0), angle, translate, size, [0.0, 0.0], interpolation=interpolation
        )
        cut = tensor[:, height // 2 : height // 2 + height, width // 2 : width // 2 + width]
        moved.append(cut.movedim(0, 2).numpy())
    return moved[0], moved[1][..., 0].astype(bool)


def perlin(image: Pixels, generator: np.random.Generator, texture: Pixels) -> tuple[Pixels, Marked]:
    """Blend in another image's texture where Perlin noise is high.

    V. Zavrtanik, M. Kristan, D. Skočaj, "DRAEM", ICCV 2021, section 3.2; the noise is anomalib's.
    """
    height, width = image.shape[:2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**31)))
        noise = generate_perlin_noise(height, width).numpy()
    # The highest tenth, if the noise is low everywhere.
    mask = noise > min(0.5, float(np.quantile(noise, 0.9)))
    opacity = generator.uniform(0.4, 0.9)
    blended = image.copy()
    blended[mask] = (1 - opacity) * image[mask] + opacity * _fit(texture, (height, width))[mask]
    return blended, mask


def cut_paste(image: Pixels, generator: np.random.Generator, texture: Pixels) -> tuple[Pixels, Marked]:
    """Paste a part of the image elsewhere, a little lighter or darker.

    C.-L. Li, K. Sohn, J. Yoon, T. Pfister, "CutPaste", CVPR 2021, section 2.2; ``texture`` is not used.
    """
    height, width = image.shape[:2]
    area, ratio = generator.uniform(0.01, 0.06) * height * width, np.exp(generator.uniform(np.log(0.3), np.log(3.3)))
    rows, columns = (
        int(np.clip(side, 2, limit // 2))
        for side, limit in ((np.sqrt(area / ratio), height), (np.sqrt(area * ratio), width))
    )
    top, to_top = generator.integers(0, height - rows + 1, 2)
    left, to_left = generator.integers(0, width - columns + 1, 2)
    patch = image[top : top + rows, left : left + columns] * generator.choice([0.75, 0.85, 1.15, 1.25])
    pasted, mask = image.copy(), np.zeros((height, width), dtype=bool)
    pasted[to_top : to_top + rows, to_left : to_left + columns] = np.clip(patch, 0, 255)
    mask[to_top : to_top + rows, to_left : to_left + columns] = True
    return pasted, mask


def scratch(image: Pixels, generator: np.random.Generator, texture: Pixels) -> tuple[Pixels, Marked]:
    """Draw a thin bent line, lighter or darker than what lies under it; ``texture`` is not used."""
    height, width = image.shape[:2]
    start = generator.uniform(0.1, 0.9, 2) * (height, width)
    angle, length = generator.uniform(0, 2 * np.pi), generator.uniform(0.2, 0.5) * min(height, width)
    direction = np.array([np.sin(angle), np.cos(angle)])
    end = start + length * direction
    middle = (start + end) / 2 + generator.uniform(-0.2, 0.2) * length * direction[::-1]
    r0, c0, r1, c1, r2, c2 = [int(round(value)) for point in (start, middle, end) for value in point]
    mask = np.zeros((height, width), dtype=bool)
    radius = max(min(height, width) / 256 * generator.uniform(1, 2), 1)
    for row, column in zip(*bezier_curve(r0, c0, r1, c1, r2, c2, weight=1.0), strict=True):
        mask[disk((row, column), radius, shape=(height, width))] = True
    change = generator.choice([-1, 1]) * generator.uniform(40, 90)
    drawn = image.copy()
    drawn[mask] = np.clip(image[mask] + change, 0, 255)
    return drawn, mask


#: Name of each synthetic anomaly and the function that makes it, given the image, a generator, and another image.
ANOMALIES: dict[str, Anomaly] = {"perlin": perlin, "cut_paste": cut_paste, "scratch": scratch}


def write_synthetic(dataset: str | Path, destination: Path, kinds: list[str], seed: int = 0) -> dict[str, int]:
    """Write a dataset with synthetic anomalies in MVTec layout; return its counts.

    A quarter of the good training images are taken out of training: each stays once as a good test image, and once with
    each kind of anomaly. The same seed gives the same bytes.

    Raises
    ------
    InputError
        If a kind is unknown, the destination exists, or the dataset cannot be used.
    """
    for kind in kinds:
        if kind not in ANOMALIES:
            raise unknown("synthetic anomaly", kind, ANOMALIES)
    if destination.exists():
        raise InputError(f"{destination} exists; choose another folder")
    source = read_dataset(dataset)
    train = source.select("train")
    generator = np.random.default_rng(seed)
    tested = set(generator.permutation(len(train))[: max(1, round(len(train) / 4))].tolist())
    if len(train) - len(tested) < LEAST_TRAINING:
        raise InputError(
            f"{source.root} has {len(train)} defect-free training images, too few to take some for testing"
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        for index, sample in enumerate(tqdm(train, unit="image", disable=None)):
            name = f"{index:04d}_{sample.path.stem}"
            image = _pixels(sample.path, source.bits)
            if index not in tested:
                _save(temporary / "train" / NORMAL / f"{name}.png", image)
                continue
            texture = _pixels(train[int(generator.integers(len(train)))].path, source.bits)
            _save(temporary / "test" / NORMAL / f"{name}.png", image)
            for kind in kinds:
                changed, mask = ANOMALIES[kind](image, generator, np.flip(texture, (0, 1)))
                _save(temporary / "test" / kind / f"{name}.png", changed)
                _save(temporary / "ground_truth" / kind / f"{name}_mask.png", mask.astype(np.uint8) * 255)
        temporary.chmod(0o755)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read_dataset(destination.resolve()).counts


def _pixels(path: Path, bits: int) -> Pixels:
    """Return an image as training sees it, with 8 bits."""
    pixels = read_image(path, bits)
    if pixels.dtype != np.uint8:
        pixels = np.repeat((255 * pixels).astype(np.uint8), 3, axis=2)
    return pixels.astype(np.uint8, copy=False)


def _fit(texture: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(np.ascontiguousarray(texture)).resize(size[::-1]))


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary)


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training_code.data.masks.mask_augmentation", description=__doc__)
    parser.add_argument(
        "dataset", metavar="DATASET", help="a folder in data/ or a path; only its training images count"
    )
    parser.add_argument("destination", type=Path, metavar="DST", help="the new folder")
    parser.add_argument("--anomaly", action="append", choices=sorted(ANOMALIES), help="a kind (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    counts = write_synthetic(options.dataset, options.destination, options.anomaly or list(ANOMALIES), options.seed)
    for name, count in counts.items():
        print(f"{count:6d}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))

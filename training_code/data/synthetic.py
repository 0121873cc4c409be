"""Synthetic anomalies: pure functions that alter a part of a good image, with the mask of what they altered.

They stand in for the defects that nobody has photographed yet. Thresholds and searches look at them, never at the test
set.
"""

import math
import threading
from collections.abc import Callable

import torch
from anomalib.data.utils.generators import PerlinAnomalyGenerator
from torch.nn.functional import grid_sample, interpolate
from torchvision.transforms.v2.functional import gaussian_blur

#: From a good image, a source of random numbers, the strength, and another image of the dataset to an altered image.
Alteration = Callable[[torch.Tensor, torch.Generator, float, torch.Tensor], torch.Tensor]

# A change of less than a gray level is none that a camera would show.
_LEAST_CHANGE = 1 / 255
# How often another anomaly is drawn where one changed nothing, for instance a white blob on a white image.
_ATTEMPTS = 10
# torch has one generator for all threads, and anomalib draws from it.
_RANDOM = threading.Lock()


def add_anomaly(
    name: str, image: torch.Tensor, seed: int, strength: float = 1.0, other: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image with a synthetic anomaly, and its mask: the pixels that differ from the given image.

    Parameters
    ----------
    name
        A key of `ANOMALIES`.
    image
        Float of shape (3, height, width), values from 0 to 1.
    seed
        Chooses the anomaly; torch's other random numbers stay the same.
    strength
        How clearly it can be seen, above 0 and up to 1.
    other
        Another good image of the same shape, whose texture may be taken; by default the image itself.

    Returns
    -------
    tuple
        The image, values from 0 to 1, and the mask, bool of shape (height, width). The mask is empty where nothing
        could be altered, as in an image of a single color whose parts are exchanged.

    Examples
    --------
    >>> image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> altered, mask = add_anomaly("blob", image, seed=1)
    >>> torch.equal(altered[:, ~mask], image[:, ~mask]), bool(mask.any())
    (True, True)
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength={strength} must be above 0 and at most 1")
    generator = torch.Generator().manual_seed(seed)
    source = image if other is None else other
    for _ in range(_ATTEMPTS):
        altered = ANOMALIES[name](image, generator, strength, source).clamp(0, 1)
        mask = (altered - image).abs().amax(0) >= _LEAST_CHANGE
        if mask.any():
            break
    return torch.where(mask, altered, image), mask


def add_perlin(image: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image with an anomaly of anomalib's `PerlinAnomalyGenerator`, and its mask, bool (height, width).

    Torch's other random numbers stay the same.
    """
    with _RANDOM, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        altered, mask = PerlinAnomalyGenerator(probability=1.0)(image)
    return altered.clamp(0, 1), mask[0] > 0


def perlin(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Blend in colored Perlin noise where it is high, as anomalib does.

    V. Zavrtanik, M. Kristan, D. Skočaj, "DRAEM", ICCV 2021, section 3.2.
    """
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return image + strength * (add_perlin(image, seed)[0] - image)


def cut_paste(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Paste a rectangle of the image elsewhere, a little lighter or darker.

    C.-L. Li, K. Sohn, J. Yoon, T. Pfister, "CutPaste", CVPR 2021, section 2.2, with rectangles of 0.5 to 5 % of the
    image.
    """
    height, width = image.shape[1:]
    area = _uniform(generator, 0.005, 0.05) * height * width
    ratio = math.exp(_uniform(generator, math.log(0.3), math.log(3.3)))
    return _paste_part(image, generator, strength, (math.sqrt(area / ratio), math.sqrt(area * ratio)), 0.0)


def scar(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Paste a long, thin and turned part of the image elsewhere.

    CutPaste (scar) of the same paper, section 2.2: 2 to 16 by 10 to 25 of 256 pixels; here up to 60 pixels long.
    """
    unit = min(image.shape[1:]) / 256
    sides = max(_uniform(generator, 2, 16) * unit, 1.5), _uniform(generator, 10, 60) * unit
    return _paste_part(image, generator, strength, sides, _uniform(generator, -math.pi / 2, math.pi / 2))


def scratch(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Draw a thin bent line, lighter or darker than what lies under it."""
    height, width = image.shape[1:]
    side = min(height, width)
    angle, length = _uniform(generator, 0, 2 * math.pi), _uniform(generator, 0.1, 0.5) * side
    across, along = _turned(image, generator, angle)
    bend = _uniform(generator, -1, 1) / length
    thickness = max(_uniform(generator, 0.5, 2) * side / 256, 0.5)
    line = ((across - bend * along**2).abs() <= thickness) & (along.abs() <= length / 2)
    return image + _sign(generator) * strength * 0.6 * line


def blob(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Lighten or darken a spot with an uneven soft edge, a little differently in each channel."""
    tint = 1 - 0.4 * torch.rand(3, 1, 1, generator=generator)
    return image + _sign(generator) * strength * 0.6 * tint * _spot(image, generator, 0.02, 0.2)


def texture(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Show what lies elsewhere in another image, upside down, in a spot with an uneven soft edge."""
    shifts = [int(_uniform(generator, 0.2, 0.8) * side) for side in image.shape[1:]]
    source = other.flip(1, 2).roll(shifts, (1, 2))
    return torch.lerp(image, source, strength * (2 * _spot(image, generator, 0.04, 0.2)).clamp(max=1))


def blur(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Blur a spot."""
    deviation = 4 * min(image.shape[1:]) / 256
    blurred = gaussian_blur(image, [2 * math.ceil(2 * deviation) + 1] * 2, [deviation] * 2)
    return torch.lerp(image, blurred, strength * (2 * _spot(image, generator, 0.06, 0.25)).clamp(max=1))


def warp(image: torch.Tensor, generator: torch.Generator, strength: float, other: torch.Tensor) -> torch.Tensor:
    """Move the pixels of a spot aside, most in its middle, by up to a sixteenth of the image."""
    height, width = image.shape[1:]
    spot, angle = _spot(image, generator, 0.08, 0.25), _uniform(generator, 0, 2 * math.pi)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    shift = strength / 8 * spot
    grid = torch.stack([columns + math.cos(angle) * shift, rows + math.sin(angle) * shift], dim=-1)
    moved = grid_sample(image[None], grid[None], padding_mode="reflection", align_corners=True)[0]
    return torch.where(spot > 0, moved, image)


#: The synthetic anomalies by name.
ANOMALIES: dict[str, Alteration] = {
    "perlin": perlin,
    "cut_paste": cut_paste,
    "scar": scar,
    "scratch": scratch,
    "blob": blob,
    "texture": texture,
    "blur": blur,
    "warp": warp,
}


def _paste_part(
    image: torch.Tensor, generator: torch.Generator, strength: float, sides: tuple[float, float], angle: float
) -> torch.Tensor:
    """Return the image with a rectangle of ``sides`` (height, width) from one place in another, turned by ``angle``."""
    height, width = image.shape[1:]
    across, along = _turned(image, generator, angle)
    inside = (across.abs() <= sides[0] / 2) & (along.abs() <= sides[1] / 2)
    top, left = (
        _uniform(generator, part / 2, max(side - part / 2, part / 2))
        for side, part in zip((height, width), sides, strict=True)
    )
    rows = (across + top).round().long().clamp(0, height - 1)
    columns = (along + left).round().long().clamp(0, width - 1)
    light = 1 + _sign(generator) * _uniform(generator, 0.05, 0.15)
    return torch.lerp(image, image[:, rows, columns] * light, strength * inside)


def _turned(image: torch.Tensor, generator: torch.Generator, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the coordinates of each pixel across and along an axis through a random place, in pixels."""
    height, width = image.shape[1:]
    row, column = (_uniform(generator, 0.1, 0.9) * side for side in (height, width))
    rows, columns = torch.meshgrid(torch.arange(height) - row, torch.arange(width) - column, indexing="ij")
    return (
        math.cos(angle) * rows - math.sin(angle) * columns,
        math.sin(angle) * rows + math.cos(angle) * columns,
    )


def _spot(image: torch.Tensor, generator: torch.Generator, low: float, high: float) -> torch.Tensor:
    """Return a spot, float of shape (height, width): 1 in its middle, 0 outside.

    Its radius is ``low`` to ``high`` of the smaller side, small ones being as frequent as large ones; its outline is
    that of an ellipse with smooth noise.
    """
    radius = math.exp(_uniform(generator, math.log(low), math.log(high))) * min(image.shape[1:])
    across, along = _turned(image, generator, _uniform(generator, 0, math.pi))
    ratio = math.exp(_uniform(generator, 0, math.log(2.5)))
    distance = torch.sqrt((across * math.sqrt(ratio)) ** 2 + (along / math.sqrt(ratio)) ** 2) / max(radius, 2)
    noise = torch.rand(1, 1, 8, 8, generator=generator)
    uneven = interpolate(noise, across.shape, mode="bicubic", align_corners=False)[0, 0]
    return (1.2 - distance * (0.7 + 0.6 * uneven)).clamp(0, 1)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))


def _sign(generator: torch.Generator) -> int:
    return 1 if _uniform(generator, 0, 1) < 0.5 else -1

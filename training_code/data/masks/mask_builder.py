"""Binary masks from segmentations in which every label has a color, as Unity's Perception package writes them.

``python -m training_code.data.masks.mask_builder SEGMENTATIONS MASKS --definitions JSON --label NAME`` does a folder.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training_code.data.images import decode_image
from training_code.data.walk import check_apart, find_images
from training_code.foundation.errors import InputError, run_command, unknown
from training_code.foundation.files import atomic_path

Color = tuple[int, int, int]  # 0 to 255


def read_label_colors(path: Path) -> dict[str, Color]:
    """Return the color of each label from a JSON file of Unity's Perception package.

    It reads ``annotation_definitions.json`` of 0.x datasets, and ``annotation_definitions.json`` and
    ``frame_data.json`` of SOLO datasets: in all of them entries with ``label_name``, ``name`` or ``labelName`` and
    ``pixel_value`` or ``pixelValue``, which has the keys r, g, b or is a list, from 0 to 1 or from 0 to 255.

    Raises
    ------
    InputError
        If the file cannot be read, holds no such entry, or gives one label two colors.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error})") from error
    raw: dict[str, list[float]] = {}
    for name, value in _entries(content):
        channels = _channels(path, name, value)
        if raw.setdefault(name, channels) != channels:
            raise InputError(f"{path} gives the label {name!r} two colors")
    if not raw:
        raise InputError(f"{path} has no label with a color: expected entries with label_name and pixel_value")
    # Unity's colors are numbers from 0 to 1 in older versions and whole numbers to 255 in newer ones.
    scale = 255 if all(value <= 1 for channels in raw.values() for value in channels) else 1
    return {name: (round(r * scale), round(g * scale), round(b * scale)) for name, (r, g, b) in raw.items()}


def binary_mask(segmentation: np.ndarray, colors: Iterable[Color], tolerance: int | Sequence[int] = 0) -> np.ndarray:
    """Return where a segmentation has one of ``colors``.

    Parameters
    ----------
    segmentation
        uint8 of shape (height, width, 3).
    colors
        Red, green and blue of the labels that are wanted.
    tolerance
        How far a value may be off, for each channel or for all alike: above 0 where the file was compressed with loss.

    Returns
    -------
    numpy.ndarray
        bool of shape (height, width).

    Examples
    --------
    >>> segmentation = np.array([[[255, 0, 0], [250, 0, 0], [0, 0, 255]]], np.uint8)
    >>> binary_mask(segmentation, [(255, 0, 0)]).tolist()
    [[True, False, False]]
    >>> binary_mask(segmentation, [(255, 0, 0)], tolerance=5).tolist()
    [[True, True, False]]
    """
    allowed = np.broadcast_to(np.asarray(tolerance), 3)
    mask = np.zeros(segmentation.shape[:2], dtype=bool)
    for color in colors:
        mask |= (np.abs(segmentation.astype(np.int16) - np.asarray(color)) <= allowed).all(axis=2)
    return mask


def build_masks(
    segmentations: Path, masks: Path, definitions: Path, labels: Sequence[str], tolerance: int | Sequence[int] = 0
) -> int:
    """Write a mask for every segmentation below a folder; return how many.

    Parameters
    ----------
    segmentations
        Folder of the color segmentations; its hierarchy is kept.
    masks
        Folder for the masks, ``NAME_mask.png`` with 0 and 255.
    definitions
        The label JSON.
    labels
        Names of the labels that are defects.
    tolerance
        As in `binary_mask`.

    Raises
    ------
    InputError
        If a label is unknown, two labels cannot be told apart with the tolerance, there is no segmentation, or two have
        one name.
    """
    known = read_label_colors(definitions)
    for label in labels:
        if label not in known:
            raise unknown(f"label of {definitions}", label, known)
    allowed = np.broadcast_to(np.asarray(tolerance), 3)
    for label in labels:
        for other in set(known) - set(labels):
            if (np.abs(np.subtract(known[label], known[other])) <= 2 * allowed).all():
                raise InputError(
                    f"the labels {label!r} and {other!r} of {definitions} have colors that a tolerance of "
                    f"{tolerance} does not tell apart: {known[label]} and {known[other]}"
                )
    files = find_images(segmentations)
    if not files:
        raise InputError(f"{segmentations} holds no segmentations")
    check_apart({"segmentations": segmentations, "masks": masks})
    named: dict[Path, Path] = {}
    for file in files:
        first = named.setdefault(file.with_suffix(""), file)
        if first != file:
            raise InputError(f"{first} and {file} would both become {file.stem}_mask.png")
    for file in files:
        mask = binary_mask(np.asarray(decode_image(file).convert("RGB")), [known[label] for label in labels], tolerance)
        with atomic_path(masks / file.relative_to(segmentations).with_name(f"{file.stem}_mask.png")) as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).save(temporary)
    return len(files)


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield label name and color of every entry, however deep it lies."""
    if isinstance(content, Mapping):
        name = next((content[key] for key in ("label_name", "labelName", "name") if key in content), None)
        value = next((content[key] for key in ("pixel_value", "pixelValue") if key in content), None)
        if isinstance(name, str) and value is not None:
            yield name, value
        for inner in content.values():
            yield from _entries(inner)
    elif isinstance(content, list):
        for inner in content:
            yield from _entries(inner)


def _channels(path: Path, name: str, value: Any) -> list[float]:
    channels = [value.get(key) for key in "rgb"] if isinstance(value, Mapping) else value
    if (
        not isinstance(channels, list)
        or len(channels) not in (3, 4)
        or not all(isinstance(channel, int | float) and 0 <= channel <= 255 for channel in channels)
    ):
        raise InputError(f"{path}: the color of the label {name!r} is not red, green and blue: {value}")
    return [float(channel) for channel in channels[:3]]


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training_code.data.masks.mask_builder", description=__doc__)
    parser.add_argument("segmentations", type=Path, metavar="SEGMENTATIONS", help="folder of color segmentations")
    parser.add_argument("masks", type=Path, metavar="MASKS", help="folder for the masks")
    parser.add_argument("--definitions", type=Path, required=True, metavar="JSON", help="the label JSON")
    parser.add_argument("--label", action="append", required=True, metavar="NAME", help="a label that is a defect")
    parser.add_argument(
        "--tolerance", type=int, nargs="+", default=[0], metavar="N", help="one number, or one a channel"
    )
    options = parser.parse_args(arguments)
    if len(options.tolerance) not in (1, 3) or not all(0 <= value <= 255 for value in options.tolerance):
        raise InputError(f"--tolerance {options.tolerance} must be one number or three, from 0 to 255")
    tolerance = options.tolerance[0] if len(options.tolerance) == 1 else options.tolerance
    count = build_masks(options.segmentations, options.masks, options.definitions, options.label, tolerance)
    print(f"{count} masks in {options.masks}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))

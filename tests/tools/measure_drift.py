"""``python tests/tools/measure_drift.py RUN``: after how many photographs a change at a line is an alarm.

Photographs are drawn with replacement from the good test images of the run's dataset, which it was not trained on, as
they are and altered: lighter, blurred, moved, or of another product (``--other``). The detector predicts each of them
once. A line has ``--before`` good photographs, then altered ones until the alarm; lines with 10,000 good ones tell how
often there is a false alarm.

The reference is either what the run has kept of the images that it was calibrated with, as at a station, or
(``--pool``) as many drawn from the same images as the line, so that the line is exchangeable with it by construction.
With few images that differs: 10,000 photographs of 200 tiles tell that they are not the tiles of training.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_code.images import read_pixels
from inference_code.loading import load_predictor
from inference_code.predictor import Predictor
from inference_code.station.watches import ALPHA, QUANTITIES, SCORE, SHARE, Reference, Watch, take
from training_code.data.dataset import read_dataset
from training_code.data.layout import NORMAL
from training_code.data.walk import find_images
from training_code.foundation import paths
from training_code.records.appearance import LOOKS, Appearance

# Photographs of an altered line until it is given up, and of a good one.
MOST, GOOD = 2000, 10_000
EXPECTED_BAD = 0.1
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Found:
    """What was found in a photograph."""

    values: dict[str, float]
    abnormal: bool


def _light(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda pixels: np.clip(pixels * factor + 0.5, 0, 255).astype(np.uint8)


def _moved(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    shift = np.array([[1, 0, 8], [0, 1, 8]], np.float32)
    return cv2.warpAffine(pixels, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)


ALTERED: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "light +10 %": _light(1.1),
    "light +20 %": _light(1.2),
    "light +30 %": _light(1.3),
    "light -20 %": _light(0.8),
    "blurred (sigma 1.5 pixels)": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 1.5),
    "moved by 8 pixels": _moved,
}


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="id or folder of a run whose dataset is there")
    parser.add_argument("--other", type=Path, help="images of another product")
    parser.add_argument("--pool", type=int, metavar="N", help="N images of the reference are drawn as the line is")
    parser.add_argument("--before", type=int, default=1000, help="good photographs before the change")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    predictor = load_predictor(options.run)
    dataset = read_dataset(paths.from_home(predictor.record.dataset.folder))
    images = [sample.path for sample in dataset.select("test") if sample.defect_type == NORMAL]
    pixels = [np.asarray(read_pixels(path, dataset.bits)) for path in images]
    found = {name: [*predicted(predictor, map(alter, pixels))] for name, alter in ALTERED.items()}
    if options.other is not None:
        others = [np.asarray(read_pixels(path, 8)) for path in sorted(find_images(options.other))]
        found["another product"] = [*predicted(predictor, others)]
    usual = found.pop("as it is")
    kept = Reference.read(predictor.folder, predictor.thresholds.image)
    print(f"{len(images)} good photographs, {sum(one.abnormal for one in usual)} of them judged abnormal", flush=True)

    def lines(name: str, most: int) -> Iterator[tuple[int, list[str]] | None]:
        for seed in range(options.runs):
            generator = random.Random(seed)
            reference = kept if options.pool is None else drawn(usual, options.pool, generator)
            numbers = count(seed * 10**6)
            watches = begun(reference)
            before = options.before if name else 0
            if before and until(watches, usual, before, generator, numbers) is not None:
                yield 0, ["before the change"]
                continue
            yield until(watches, found[name] if name else usual, most, generator, numbers)

    false = [*filter(None, lines("", GOOD))]
    print(f"{len(false)} of {options.runs} lines of {GOOD} good photographs have a false alarm: {false}", flush=True)
    print("| change | judged abnormal | photographs until the alarm: median, most | first to raise it |")
    print("| --- | --- | --- | --- |")
    for name, altered in found.items():
        ends = [*lines(name, MOST)]
        numbers = sorted(MOST + 1 if end is None else end[0] for end in ends)
        told = sorted({quantity for end in ends if end is not None for quantity in end[1]})
        shown = [f"more than {MOST}" if number > MOST else f"{number:.0f}" for number in (median(numbers), numbers[-1])]
        share = sum(one.abnormal for one in altered) / len(altered)
        print(f"| {name} | {share:.0%} | {', '.join(shown)} | {', '.join(told)} |", flush=True)


def predicted(predictor: Predictor, images: "Iterator[Pixels] | list[Pixels]") -> Iterator[Found]:
    """Yield what a station notes of photographs."""
    for pixels in images:
        image = predictor.prepare(pixels)
        (prediction,) = predictor.judge([image])
        seen = predictor.geometry.place(image.size).seen
        looks = asdict(Appearance.of(image.tensor.numpy(), prediction.anomaly_map, seen))
        yield Found({**looks, SCORE: prediction.score}, bool(prediction.abnormal))


def drawn(usual: list[Found], number: int, generator: random.Random) -> Reference:
    """Return a reference of photographs that are drawn as those of the line."""
    normal = [one for one in usual if not one.abnormal]
    chosen = generator.choices(normal, k=number)
    return Reference({name: [one.values[name] for one in chosen] for name in (SCORE, *LOOKS)}, "pool")


def begun(reference: Reference) -> dict[str, Watch]:
    """Return the watches of a station with one run."""
    level = len(QUANTITIES) / ALPHA
    values = {name: None if name == SHARE else reference.values.get(name, []) for name in QUANTITIES}
    return {name: Watch.begin("", level, "training", values[name]) for name in QUANTITIES}


def until(
    watches: dict[str, Watch], pool: list[Found], most: int, generator: random.Random, numbers: Iterator[int]
) -> tuple[int, list[str]] | None:
    """Return after how many photographs of a pool there is an alarm, and which; None where there is none."""
    for number in range(1, most + 1):
        one = generator.choice(pool)
        if raised := take(watches, one.values, one.abnormal, EXPECTED_BAD, next(numbers)):
            return number, raised
    return None


if __name__ == "__main__":
    main()

"""``python tests/tools/measure_drift.py RUN``: after how many photographs a change at a line is an alarm.

Parts are drawn with replacement from the good test images of the run's dataset, which it was not trained on, and of
each one photograph, as it is or altered: lighter, blurred, moved, or of another product (``--other``). The detector
predicts each photograph once. A line has ``--before`` good photographs, then altered ones until the alarm; lines with
10,000 good ones tell how often there is a false alarm.

That is done three times. First the reference are the looks of the images that the run was calibrated with, and all
else is compared with the first photographs of the station, as where images were left out one after the other. Then it
is all that the run has kept of them (``--compared-with training`` of a station): what that finds in good photographs is
how detectors of fewer images differ. At last it is drawn from the same images as the line, so that the two are
exchangeable by construction.
"""

import argparse
import random
from collections import defaultdict
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


#: Photographs by part.
Pool = list[list[Found]]


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
    parser.add_argument("--pool", type=int, default=200, help="images of the reference that is drawn as the line is")
    parser.add_argument("--before", type=int, default=1000, help="good photographs before the change")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    predictor = load_predictor(options.run)
    dataset = read_dataset(paths.from_home(predictor.record.dataset.folder))
    images = [sample.path for sample in dataset.select("test") if sample.defect_type == NORMAL]
    pixels = [np.asarray(read_pixels(path, dataset.bits)) for path in images]
    parts = [dataset.groups.get(path, str(path)) for path in images]
    found = {name: pool_of(parts, predicted(predictor, map(alter, pixels))) for name, alter in ALTERED.items()}
    if options.other is not None:
        others = [np.asarray(read_pixels(path, 8)) for path in sorted(find_images(options.other))]
        found["another product"] = pool_of([*map(str, range(len(others)))], predicted(predictor, iter(others)))
    usual = found.pop("as it is")
    every, looks = (Reference.read(predictor.folder, predictor.thresholds.image, only) for only in (False, True))
    print(f"{len(images)} good photographs of {len(usual)} parts, {share(usual):.1%} judged abnormal", flush=True)
    references: dict[str, Callable[[random.Random], Reference]] = {
        f"looks of {len(looks.values[LOOKS[0]])} images of calibration, else the station's first": lambda _: looks,
        "scores, maps and looks of the run's calibration": lambda _: every,
        f"{options.pool} photographs drawn as the line is": lambda generator: drawn(usual, options.pool, generator),
    }
    for title, reference in references.items():
        print(f"\nCompared with {title}\n")
        tell(Lines(usual, reference, options.before, options.runs), found)


@dataclass(frozen=True)
class Lines:
    """Lines of good photographs, and what they are compared with."""

    usual: Pool
    reference: Callable[[random.Random], Reference]
    before: int
    runs: int

    def good(self, most: int) -> list[tuple[int, list[str]]]:
        """Return the false alarms in lines of so many good photographs."""
        ends = [self._end(seed, 0, self.usual, most) for seed in range(self.runs)]
        return [end for end in ends if end is not None]

    def altered(self, pool: Pool, most: int) -> list[tuple[int, list[str]] | None]:
        """Return after how many altered photographs of at most so many there is an alarm."""
        return [self._end(seed, self.before, pool, most) for seed in range(self.runs)]

    def _end(self, seed: int, before: int, pool: Pool, most: int) -> tuple[int, list[str]] | None:
        generator, numbers = random.Random(seed), count(seed * 10**6)
        watches = begun(self.reference(generator))
        if before and until(watches, self.usual, before, generator, numbers) is not None:
            return 0, ["before the change"]
        return until(watches, pool, most, generator, numbers)


def tell(lines: Lines, altered: dict[str, Pool]) -> None:
    """Print false alarms, and a line of a table for each change."""
    false = lines.good(GOOD)
    print(f"{len(false)} of {lines.runs} lines of {GOOD} good photographs have a false alarm: {false}", flush=True)
    print("| change | judged abnormal | photographs until the alarm: median, most | first to raise it |")
    print("| --- | --- | --- | --- |")
    for name, pool in altered.items():
        ends = lines.altered(pool, MOST)
        numbers = sorted(MOST + 1 if end is None else end[0] for end in ends)
        told = sorted({quantity for end in ends if end is not None for quantity in end[1]})
        shown = [f"more than {MOST}" if number > MOST else f"{number:.0f}" for number in (median(numbers), numbers[-1])]
        print(f"| {name} | {share(pool):.0%} | {', '.join(shown)} | {', '.join(told)} |", flush=True)


def pool_of(parts: list[str], found: Iterator[Found]) -> Pool:
    """Return what was found in photographs by the parts that they show."""
    pool = defaultdict[str, list[Found]](list)
    for part, one in zip(parts, found, strict=True):
        pool[part].append(one)
    return [*pool.values()]


def share(pool: Pool) -> float:
    """Return which part of photographs is judged abnormal."""
    found = [one.abnormal for photographs in pool for one in photographs]
    return sum(found) / len(found)


def predicted(predictor: Predictor, images: Iterator[Pixels]) -> Iterator[Found]:
    """Yield what a station notes of photographs."""
    for pixels in images:
        image = predictor.prepare(pixels)
        (prediction,) = predictor.judge([image])
        seen = predictor.geometry.place(image.size).seen
        looks = asdict(Appearance.of(image.tensor.numpy(), prediction.anomaly_map, seen))
        yield Found({**looks, SCORE: prediction.score}, bool(prediction.abnormal))


def drawn(usual: Pool, number: int, generator: random.Random) -> Reference:
    """Return a reference of photographs that are drawn as those of the line."""
    chosen: list[Found] = []
    while len(chosen) < number:
        one = generator.choice(generator.choice(usual))
        chosen += [] if one.abnormal else [one]
    return Reference({name: [one.values[name] for one in chosen] for name in (SCORE, *LOOKS)}, "pool")


def begun(reference: Reference) -> dict[str, Watch]:
    """Return the watches of a station with one run."""
    level = len(QUANTITIES) / ALPHA
    values = {name: None if name == SHARE else reference.values.get(name, []) for name in QUANTITIES}
    return {name: Watch.begin("", level, "training", values[name]) for name in QUANTITIES}


def until(
    watches: dict[str, Watch], pool: Pool, most: int, generator: random.Random, numbers: Iterator[int]
) -> tuple[int, list[str]] | None:
    """Return after how many photographs of a pool there is an alarm, and which; None where there is none."""
    for number in range(1, most + 1):
        one = generator.choice(generator.choice(pool))
        if raised := take(watches, one.values, one.abnormal, EXPECTED_BAD, next(numbers)):
            return number, raised
    return None


if __name__ == "__main__":
    main()

"""``python tests/tools/simulate_promises.py``: how often thresholds that promise something keep it, on drawn numbers.

Each line has the rate that was measured over many draws, its standard error, and the promise. A minute; ``--draws 200``
takes seconds.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.padim.leave_out import left_out_distances
from training_code.detectors.patchcore.coreset import k_center_greedy
from training_code.detectors.patchcore.leave_out import without_each_group
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.evaluation.calibration import Calibration, Promise, area_scores, conformal
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import RULES
from training_code.features.collected import Collected

#: New images, for each set of good ones.
NEW = 200
LEVELS = (0.01, 0.05, 0.1)

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray]
SCORES: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "heavy tails": lambda generator, shape: generator.standard_t(1.5, shape),
    "ties": lambda generator, shape: generator.poisson(2, shape).astype(float),
}


class Rate:
    """The mean of shares, with its standard error."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def add(self, refused: NDArray[np.bool_]) -> None:
        """Add which of the new images are refused."""
        self.shares.append(float(refused.mean()))

    @property
    def mean(self) -> float:
        """The rate."""
        return float(np.mean(self.shares))

    @property
    def error(self) -> float:
        """Its standard error."""
        return float(np.std(self.shares) / len(self.shares) ** 0.5)


def of_scores(draw: Draw, images: int, alpha: float, draws: int, seed: int = 0) -> tuple[Rate, Promise]:
    """Return how often new scores reach the threshold of ``images`` good ones, and the promise."""
    generator, rate = np.random.default_rng(seed), Rate()
    for _ in range(draws):
        promise = conformal(draw(generator, (images,)), range(images), alpha)
        rate.add(draw(generator, (NEW,)) >= promise.threshold)
    return rate, Promise(0, max(alpha, promise.least), promise.least)


def of_rules(draw: Draw, images: int, alpha: float, draws: int) -> dict[str, Rate]:
    """Return for each rule how often new images are refused."""
    generator = np.random.default_rng(0)
    rates = {name: Rate() for name in ("conformal", "quantile", "mean_sd")}
    for _ in range(draws):
        scores, new = draw(generator, (images,)), draw(generator, (NEW,))
        maps = np.zeros((images, 1, 1), np.float32)
        good = Predictions((), (), scores, np.zeros(images, bool), maps)
        for name, rate in rates.items():
            point = RULES[name](Calibration("hold out", good, tuple(range(images))), alpha, 0.02).image
            assert point is not None
            rate.add(new >= point.threshold)
    return rates


def _maps(generator: np.random.Generator, images: int) -> NDArray[np.float32]:
    """Return maps of 8 × 8 pixels, neighbors alike, each image on a level and with a spread of its own."""
    noise = generator.normal(size=(images, 9, 9))
    smooth = noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]
    level, spread = generator.normal(size=(2, images, 1, 1))
    return (level + np.exp(spread) * smooth).astype(np.float32)


def of_areas(images: int, alpha: float, area: float, draws: int) -> tuple[Rate, Promise]:
    """Return how often more than ``area`` of a new map reaches the threshold for areas."""
    generator, rate = np.random.default_rng(0), Rate()
    for _ in range(draws):
        promise = conformal(area_scores(_maps(generator, images), area), range(images), alpha)
        rate.add((_maps(generator, NEW // 4) >= promise.threshold).mean((1, 2)) > area)
    return rate, Promise(0, max(alpha, promise.least), promise.least)


def of_siblings(groups: int, alpha: float, draws: int, known: bool) -> Rate:
    """Return how often images of new groups reach the threshold of groups of one to six images that are alike.

    ``known``: whether the rule is told the groups, or takes each image for one of its own.
    """
    generator, rate = np.random.default_rng(0), Rate()

    def draw(count: int) -> tuple[NDArray, NDArray]:
        codes = np.repeat(np.arange(count), generator.integers(1, 7, count))
        return codes, generator.normal(size=count)[codes] + 0.3 * generator.normal(size=len(codes))

    for _ in range(draws):
        codes, scores = draw(groups)
        threshold = conformal(scores, codes if known else range(len(codes)), alpha).threshold
        # An image of a new group, drawn group by group: each group counts once.
        new_codes, new = draw(NEW)
        shares = np.bincount(new_codes, new >= threshold) / np.bincount(new_codes)
        rate.shares.append(float(shares.mean()))
    return rate


def of_padim(images: int, channels: int, alpha: float, draws: int) -> Rate:
    """Return how often new images are refused by PaDiM that leaves one out, on 4 × 4 positions."""
    torch.manual_seed(0)
    mixing, rate = torch.randn(channels, channels) / channels**0.5, Rate()

    def draw(count: int) -> torch.Tensor:
        spread = torch.rand(count, 1, 1, 1) + 0.5  # images differ in how much they vary
        return torch.einsum("dc,nchw->ndhw", mixing, spread * torch.randn(count, channels, 4, 4))

    for _ in range(draws):
        features, new, gaussian = draw(images), draw(NEW), FactorizedGaussian()
        gaussian.fit_batches([features])
        scores = left_out_distances(Collected([features]), torch.arange(images)).amax((1, 2, 3))
        threshold = conformal(scores.numpy(), range(images), alpha).threshold
        rate.add((gaussian.distances(new).amax((1, 2, 3)) >= threshold).numpy())
    return rate


def of_patchcore(images: int, ratio: float, alpha: float, draws: int) -> Rate:
    """Return how often new images are refused by PatchCore that leaves one out, on 16 registered positions."""
    torch.manual_seed(0)
    layout, rate = torch.randn(16, 8), Rate()

    def draw(count: int) -> torch.Tensor:
        spread = 0.3 * (torch.rand(count, 1, 1) + 0.5)
        return (layout + spread * torch.randn(count, 16, 8)).flatten(0, 1)

    for _ in range(draws):
        patches, new = draw(images), draw(NEW)
        order = k_center_greedy(patches, max(2, int(ratio * len(patches)))).order
        bank, image_of_row = patches[order], order // 16
        scores = torch.empty(images)
        for without in without_each_group(patches, bank, image_of_row, torch.arange(images)):
            scores[without.images] = without.distances.amax(1)
        threshold = conformal(scores.numpy(), range(images), alpha).threshold
        found = nearest_neighbors(new, bank, 1)[0].reshape(NEW, 16).amax(1)
        rate.add((found >= threshold).numpy())
    return rate


def lines(draws: int) -> Iterator[tuple[str, Rate, float]]:
    """Return what was drawn, the rate, and what it is to be at most."""
    for images in (19, 99, 500):
        for alpha in LEVELS:
            for name, draw in SCORES.items():
                rate, promise = of_scores(draw, images, alpha, draws)
                yield f"conformal, {name}, {images} images, alpha {alpha:g}", rate, promise.rate
            for area in (0.0, 0.05):
                rate, promise = of_areas(images, alpha, area, max(1, draws // 10))
                yield f"area {area:g}, {images} images, alpha {alpha:g}", rate, promise.rate
            for known in (True, False):
                most = max(alpha, 1 / (images + 1))
                rate = of_siblings(images, alpha, draws, known)
                yield f"{'' if known else 'unknown '}groups of 1 to 6, {images} groups, alpha {alpha:g}", rate, most
            for name, draw in SCORES.items():
                for rule, rate in of_rules(draw, images, alpha, max(1, draws // 4)).items():
                    if rule != "conformal":
                        yield f"{rule}, {name}, {images} images, alpha {alpha:g}", rate, alpha
    for images in (20, 50, 100):
        for alpha in LEVELS[1:]:
            for channels in (10, 60):
                rate = of_padim(images, channels, alpha, max(1, draws // 8))
                yield f"PaDiM, {images} images, {channels} features, alpha {alpha:g}", rate, alpha
            for ratio in (0.1, 0.3):
                rate = of_patchcore(images, ratio, alpha, max(1, draws // 10))
                yield f"PatchCore {ratio:g}, {images} images, alpha {alpha:g}", rate, alpha


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="sets of good images for each line")
    for what, rate, most in lines(parser.parse_args().draws):
        broken = "" if rate.mean <= most + 3 * rate.error else "  more than promised"
        print(f"{what:55} {rate.mean:.4f} ± {rate.error:.4f}  of {most:.4f}{broken}", flush=True)


if __name__ == "__main__":
    main()

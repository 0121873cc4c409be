"""``python tests/tools/measure_promises.py``: whether thresholds keep their promises on new photographs.

Good images are split again and again into those for training and new ones, photographs of one part together. Each split
gives a line for each detector, rule and ``alpha``: the part of new good images that is refused, that of those with more
marked than ``area``, that of defective images that are missed, and the F1 of pixels as a part of the largest possible.

Example: ``measure_promises.py OUT.csv tiles magnetic_tile magnetic_tile_more`` with folders as published, or
``measure_promises.py OUT.csv cells elpv_dataset/data --train 200 --test 300 --defective 150``.
"""

import argparse
import csv
import os
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training_code.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from training_code.backbones.reading import load_backbone
from training_code.backbones.weights import find_weights
from training_code.data.adapters.copying import part_groups
from training_code.data.adapters.magnetic_tile import tile_pairs
from training_code.data.datamodule import ValidationDataset, load_image, load_mask
from training_code.data.layout import NORMAL, Sample
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import configure
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.metrics import decide
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.ranking import rank
from training_code.evaluation.thresholds import Points, find_points

BACKBONE = "efficientnet_lite0"
PADIM = ("Padim", {"layers": ["blocks.1", "blocks.2", "blocks.4"], "n_features": 100})
PATCHCORE = {"layers": ["blocks.2", "blocks.4"]}
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "PaDiM": PADIM,
    "PatchCore 0.1": ("Patchcore", PATCHCORE | {"coreset_sampling_ratio": 0.1}),
    "PatchCore 0.01": ("Patchcore", PATCHCORE | {"coreset_sampling_ratio": 0.01}),
}
ALTERED = 0.1  # part of the good images that are altered, as the protocol's validation_split
COLUMNS = (
    "detector", "split", "rule", "alpha", "area", "images", "groups", "promise", "false_alarms", "over_area", "missed",
    "pixel_f1_of_largest",
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """Good images with the part that each shows, and defective ones."""

    good: list[Sample]
    parts: list[str]
    defective: list[Sample]


def tiles(folders: Sequence[Path], seed: int) -> Pool:
    """Return the magnetic tiles, of which one was photographed up to six times."""
    images = sorted(path for folder in folders for path in folder.glob("MT_*/Imgs/*.jpg"))
    root = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    groups = part_groups(root, images, tile_pairs(images))
    good = [Sample(path, "train", NORMAL) for path in images if path.parts[-3] == "MT_Free"]
    bad = [Sample(path, "test", path.parts[-3], path.with_suffix(".png")) for path in images]
    bad = [sample for sample in bad if sample.defect_type != "MT_Free"]
    return Pool(good, [groups[sample.path] for sample in good], bad)


def cells(folders: Sequence[Path], seed: int) -> Pool:
    """Return the solar cells of ELPV, in random order: good ones, and those that are certainly defective."""
    lines = (folders[0] / "labels.csv").read_text().split("\n")
    rows = [line.split() for line in lines if line.strip()]
    random.Random(seed).shuffle(rows)
    good = [Sample(folders[0] / name, "train", NORMAL) for name, label, _ in rows if float(label) == 0]
    bad = [Sample(folders[0] / name, "test", "defective") for name, label, _ in rows if float(label) == 1]
    return Pool(good, [sample.path.stem for sample in good], bad)


def split(parts: Sequence[str], train: int, test: int, seed: int) -> tuple[list[int], list[int]]:
    """Return the indices of about ``train`` and of up to ``test`` images, those of one part on one side."""
    members = defaultdict(list)
    for index, part in enumerate(parts):
        members[part].append(index)
    names = sorted(members)
    random.Random(seed).shuffle(names)
    sides: tuple[list[int], list[int]] = [], []
    for name in names:
        sides[len(sides[0]) >= train].extend(members[name])
    return sides[0], sides[1][:test]


class Measured:
    """A detector and the features of all images, so that a split takes seconds."""

    def __init__(self, name: str, pool: Pool, size: int) -> None:
        detector, arguments = DETECTORS[name]
        configuration = configure(detector, {"backbone": BACKBONE, **arguments})
        weights = find_weights(configuration.backbone)
        torch.manual_seed(42)
        statistics_ = weights.recipe.mean or IMAGENET_MEAN, weights.recipe.std or IMAGENET_STD
        self.size = (size, size)
        self.detector = build_detector(configuration, load_backbone(weights), self.size, statistics_)
        self.detector.eval()
        self.pool, self.masks = pool, None
        altered = ValidationDataset(pool.good, self.size, 42)
        self.altered = sorted(random.Random(42).sample(range(len(pool.good)), int(ALTERED * len(pool.good))))
        items = [altered[len(pool.good) + index] for index in self.altered]
        self.good = self._embed(load_image(sample.path, self.size) for sample in pool.good)
        self.bad = self._embed(load_image(sample.path, self.size) for sample in pool.defective)
        self.changed = self._embed(item.image for item in items)
        self.altered_masks = np.stack([item.gt_mask.numpy().reshape(self.size) > 0 for item in items])
        if pool.defective[0].mask:
            self.masks = np.stack([load_mask(sample.mask, self.size, 128).numpy() > 0 for sample in pool.defective])

    @torch.no_grad()
    def _embed(self, images: Iterator[torch.Tensor]) -> list[torch.Tensor]:
        transform = image_transform(self.detector)
        return [self.detector.embed(transform(image[None])) for image in images]

    @torch.no_grad()
    def run(self, train: list[int], test: list[int]) -> tuple[Calibration, Predictions]:
        """Return what the detector, fitted to ``train``, says of these left out, and of new and defective images."""
        detector, model = self.detector, self.detector.model
        detector.keep_features()
        is_padim = hasattr(model, "gaussian")
        features = [self.good[index] for index in train]
        if is_padim:
            model.memory_bank = features
        else:
            model.embedding_store = features
        detector.fit()
        names = [self.pool.parts[index] for index in train]
        groups = torch.tensor([sorted(set(names)).index(name) for name in names])
        altered = [place for place, index in enumerate(self.altered) if index in set(train)]
        originals = [train.index(self.altered[place]) for place in altered]
        found = list(detector.left_out(groups, [self.changed[place] for place in altered], groups[originals]))
        detector.forget_features()
        scores, maps = _together(found)
        n = len(train)
        good = _predictions(scores[:n], maps[:n], None)
        masks = np.concatenate([np.zeros_like(self.altered_masks[altered]), self.altered_masks[altered]])
        judged = _predictions(
            np.concatenate([scores[originals], scores[n:]]),
            np.concatenate([maps[originals], maps[n:]]),
            masks,
            masks.any((1, 2)),
        )
        new = [self._judge(each) for each in [*(self.good[index] for index in test), *self.bad]]
        masks = None if self.masks is None else np.concatenate([np.zeros((len(test), *self.size), bool), self.masks])
        predictions = _predictions(*_together(new), masks, np.arange(len(new)) >= len(test))
        return Calibration("leave one out", good, tuple(groups.tolist()), judged), predictions

    def _judge(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        model = self.detector.model
        if hasattr(model, "gaussian"):
            maps = model.anomaly_map_generator.of_distances(model.gaussian.distances(features), self.size)
            return maps.amax((-2, -1)), maps
        return model.find(features, self.size)


def _together(found: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    maps = torch.cat([each.reshape(-1, *each.shape[-2:]) for _, each in found])
    return torch.cat([score.reshape(-1) for score, _ in found]).double().numpy(), maps.numpy()


def _predictions(
    scores: np.ndarray, maps: np.ndarray, masks: np.ndarray | None, labels: np.ndarray | None = None
) -> Predictions:
    labels = np.zeros(len(scores), bool) if labels is None else labels
    types = tuple(np.where(labels, "defective", NORMAL))
    return Predictions((), types, scores, labels, maps, masks)


def rows(calibration: Calibration, new: Predictions, alphas: Sequence[float], area: float) -> Iterator[dict[str, Any]]:
    """Return what follows from each rule for new images."""
    largest = None if new.masks is None else float(rank(new.maps, new.masks).f1.max())
    good = ~new.labels
    for alpha in alphas:
        for rule, points in find_points(calibration, Points(), alpha, area).items():
            if points.image is None or points.pixel is None:
                continue
            decided = decide(new, points.thresholds).metrics if largest else {}
            marked = (new.maps[good] >= points.pixel.threshold).mean((1, 2))
            yield {
                "rule": rule,
                "alpha": alpha,
                "area": area,
                "images": points.image.images,
                "groups": points.image.groups,
                "promise": points.image.promise,
                "false_alarms": float((new.scores[good] >= points.image.threshold).mean()),
                "over_area": float((marked > area).mean()),
                "missed": float((new.scores[new.labels] < points.image.threshold).mean()),
                "pixel_f1_of_largest": decided["pixel_F1Score"] / largest if largest else None,
            }


def summary(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return the means over all splits as lines of a table."""
    yield "| detector | alpha | area | rule | false alarms | over the area | missed | pixel F1, of the largest |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    kinds: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        kinds[row["detector"], row["alpha"], row["area"], row["rule"]].append(row)
    for kind, members in kinds.items():
        values = []
        for name in COLUMNS[-4:]:
            present = [row[name] for row in members if row[name] is not None]
            values.append(f"{statistics.mean(present):.3f}" if present else "")
        yield f"| {' | '.join(map(str, (*kind, *values)))} |"


def main() -> None:
    """Measure, write every line to the file, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.csv")
    parser.add_argument("kind", choices=("tiles", "cells"), help="how the images are published")
    parser.add_argument("folders", type=Path, nargs="+", help="where they are")
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=[*DETECTORS])
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--train", type=int, default=150, help="good images for training")
    parser.add_argument("--test", type=int, default=1000, help="new good images, at most")
    parser.add_argument("--defective", type=int, default=1000, help="defective images, at most")
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.05, 0.1])
    parser.add_argument("--area", type=float, nargs="+", default=[0.05, 0.02])
    options = parser.parse_args()
    pool = {"tiles": tiles, "cells": cells}[options.kind](options.folders, 42)
    kept = options.train + options.test
    pool = Pool(pool.good[:kept], pool.parts[:kept], pool.defective[: options.defective])
    found = []
    with open(options.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name in options.detectors:
            measured = Measured(name, pool, options.size)
            for number in range(options.splits):
                calibration, new = measured.run(*split(pool.parts, options.train, options.test, number))
                for area in options.area:
                    for row in rows(calibration, new, options.alpha, area):
                        found.append({"detector": name, "split": number, **row})
                        writer.writerow(found[-1])
                file.flush()
    print("\n".join(summary(found)))


if __name__ == "__main__":
    main()

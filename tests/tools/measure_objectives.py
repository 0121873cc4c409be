"""``python tests/tools/measure_objectives.py DATASET FOLDER``: what every objective would be made of.

Trains each of `CONFIGURATIONS` once and keeps in ``FOLDER`` its true metrics on the test set, what its run would record
of the held-out images, and its scores and maps of held-out good images: as they are, a little moved and a little
lighter, and with each synthetic anomaly at each strength. ``tests/tools/rank_objectives.py FOLDER...`` then compares
objectives. ``--seed 7 --validation-split 0.1 --recorded`` then asks again, with other images held out, only about what
a run records: the figures of docs/experiments.md.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch

from training_code.data.synthetic import ANOMALIES, add_anomaly
from training_code.findings import evaluate
from training_code.foundation.cache import TensorCache
from training_code.pipeline import Places, build, feature_store, fit, predict, prepare_data
from training_code.preparation import Conditions, prepare, read_conditions

STRENGTHS = (0.1, 0.25, 0.5, 1.0)
#: Images of each anomaly and strength, at least: held-out images are altered several times where they are few.
LEAST_ALTERED = 30
LITE = "efficientnet_lite0"


def _blocks(*numbers: int) -> list[str]:
    return [f"blocks.{number}" for number in numbers]


def _padim(layers: list[str], n_features: int, backbone: str = LITE, pre_trained: bool = True) -> tuple[str, dict]:
    return "Padim", {"backbone": backbone, "layers": layers, "n_features": n_features, "pre_trained": pre_trained}


def _patchcore(
    layers: list[str], ratio: float, neighbors: int, backbone: str = LITE, pre_trained: bool = True
) -> tuple[str, dict]:
    arguments = {"backbone": backbone, "layers": layers, "pre_trained": pre_trained}
    return "Patchcore", arguments | {"coreset_sampling_ratio": ratio, "num_neighbors": neighbors}


#: Good ones and bad ones: early, middle and late layers, few and many features, trained and random weights.
CONFIGURATIONS = (
    _padim(_blocks(1, 2, 4), 100),
    _patchcore(_blocks(2, 4), 0.1, 9),
    _padim(_blocks(1, 2, 4), 100, pre_trained=False),
    _padim(_blocks(1, 2, 4), 10),
    _padim(_blocks(1, 2, 4), 30),
    _padim(_blocks(1, 2, 3), 100),
    _padim(_blocks(1, 2), 30),
    _padim(_blocks(0), 10),
    _padim(_blocks(1), 20),
    _padim(_blocks(2), 40),
    _padim(_blocks(4), 50),
    _padim(_blocks(5), 50),
    _padim(_blocks(6), 50),
    _padim(_blocks(4, 6), 100),
    _patchcore(_blocks(2, 4), 0.01, 9),
    _patchcore(_blocks(2, 4), 0.01, 1),
    _patchcore(_blocks(2, 4), 0.001, 1),
    _patchcore(_blocks(1, 2), 0.01, 9),
    _patchcore(_blocks(2), 0.1, 9),
    _patchcore(_blocks(2), 0.01, 1),
    _patchcore(_blocks(3), 0.1, 9),
    _patchcore(_blocks(4), 0.1, 9),
    _patchcore(_blocks(4), 0.01, 1),
    _patchcore(_blocks(4, 5), 0.1, 9),
    _patchcore(_blocks(5, 6), 0.1, 9),
    _patchcore(_blocks(6), 0.1, 9),
    _patchcore(_blocks(2, 4), 0.1, 9, pre_trained=False),
    _padim(["layer1", "layer2", "layer3"], 100, "resnet18", pre_trained=False),
    _patchcore(["layer2", "layer3"], 0.01, 9, "resnet18", pre_trained=False),
    _padim(["blocks.1", "blocks.2", "blocks.4"], 100, "mobilenetv3_large_100", pre_trained=False),
)


def altered_images(good: torch.Tensor, seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    """Return by name the images (N, 3, H, W) that are predicted beside the test set, and the masks (N, H, W)."""
    draws = math.ceil(LEAST_ALTERED / len(good))
    sets: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {
        "good": (good, None),
        "moved": (good.roll((4, 4), (2, 3)), None),
        "lighter": ((good * 1.05).clamp(0, 1), None),
    }
    for name in ANOMALIES:
        for strength in STRENGTHS:
            pairs = [
                add_anomaly(
                    name, image, seed * 1_000_003 + draw * 10_007 + index, strength, good[(index + 1) % len(good)]
                )
                for draw in range(draws)
                for index, image in enumerate(good)
            ]
            images, masks = zip(*pairs, strict=True)
            sets[f"{name}@{strength}"] = torch.stack(images), torch.stack(masks)
    return sets


def predict_images(detector: torch.nn.Module, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N,) and every second row and column of the maps."""
    found = []
    with torch.inference_mode():
        for batch in images.split(32):
            found.append(detector(batch))
    scores = torch.cat([each.pred_score.reshape(-1) for each in found]).double().numpy()
    maps = torch.cat([each.anomaly_map.reshape(-1, *each.anomaly_map.shape[-2:]) for each in found])
    return scores, maps[:, ::2, ::2].float().numpy()


def measure(conditions: Conditions, recorded: bool, folder: Path) -> None:
    """Train what is missing in ``folder`` and keep what it predicts; with ``recorded`` only what a run records."""
    cache = TensorCache()
    data = prepare_data(conditions, cache=cache)
    held_out = data.val_data
    assert held_out is not None
    good = torch.stack([held_out[index].image for index in range(len(held_out) // 2)])
    sets = {} if recorded else altered_images(good, conditions.seed)
    folder.mkdir(parents=True, exist_ok=True)
    masks = {name: mask[:, ::2, ::2].numpy() for name, (_, mask) in sets.items() if mask is not None}
    np.savez_compressed(folder / "masks.npz", **masks)
    for number, (detector_name, arguments) in enumerate(CONFIGURATIONS):
        path = folder / f"{number:02d}.npz"
        if path.exists():
            continue
        prepared = prepare(conditions, detector_name, arguments)
        detector = build(prepared, conditions, feature_store(prepared.configuration, conditions, cache))
        with tempfile.TemporaryDirectory() as place:
            trained = fit(detector, prepared, conditions, data, Places(Path(place)))
        detector.eval()
        arrays = {}
        for name, (images, _) in sets.items():
            arrays[f"score {name}"], arrays[f"map {name}"] = predict_images(detector, images)
        findings = evaluate(predict(trained, data))
        about = {
            "dataset": conditions.dataset.name,
            "configuration": f"{detector_name} {arguments}",
            "pretrained": arguments["pre_trained"],
            "train": len(data.train_data),
            "held_out": len(good),
            "test": dict(conditions.dataset.counts),
            "truth": findings.metrics,
            "validation": findings.validation,
        }
        np.savez(path, about=np.array(json.dumps(about)), **arrays)
        print(path, about["configuration"], findings.metrics["image_AUROC"], findings.validation, flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--validation-split", type=float, default=0.2)
    parser.add_argument("--recorded", action="store_true")
    options = parser.parse_args()
    given = {"image_size": options.image_size, "validation_split": options.validation_split}
    measure(read_conditions(options.dataset, seed=options.seed, **given), options.recorded, options.folder)


if __name__ == "__main__":
    main()

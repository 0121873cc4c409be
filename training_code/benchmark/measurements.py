"""What is measured: every measurement gives seconds of both sides, their ratio, and how far the results differ."""

import operator
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score

from training_code.benchmark import ours, parts, plain
from training_code.benchmark.bench import Bench
from training_code.benchmark.images import make_images

SEED = 42
SIDE = 256
BACKBONE = "efficientnet_lite0"
LAYERS = ["blocks.1", "blocks.2", "blocks.4"]
PADIM = {"backbone": BACKBONE, "layers": LAYERS, "n_features": 100}
PATCHCORE = {"backbone": BACKBONE, "layers": ["blocks.2", "blocks.4"], "coreset_sampling_ratio": 0.1}
# Of the sweep: training images, ratios from small to large, choices of layers from expensive to cheap.
SWEEP_IMAGES = 50
RATIOS = (0.01, 0.02, 0.05)
LAYER_CHOICES = (LAYERS, ["blocks.1", "blocks.2"], ["blocks.2", "blocks.4"])


def coreset(bench: Bench) -> dict[str, Any]:
    """50,000 points of 150 dimensions, 5 %."""
    size = (50_000, 150, 0.05)
    found = {kind: bench.in_new_process(parts.coreset, kind, *size) for kind in ("plain", "same features", "ours")}
    same = found["same features"]
    return _compared(found["plain"]["seconds"], found["ours"]["seconds"]) | {
        "plain_same_features": same["seconds"],
        "ratio_same_features": same["seconds"] / found["ours"]["seconds"],
        "same_points": set(same["order"]) == set(found["ours"]["order"]),
        "in_the_same_place": sum(map(operator.eq, same["order"], found["ours"]["order"])) / len(same["order"]),
    }


def gaussian(bench: Bench) -> dict[str, Any]:
    """200 images, 100 features, 64 × 64 positions."""
    theirs, own = (bench.in_new_process(parts.gaussian, kind, 200, 100) for kind in ("plain", "ours"))
    difference = ((own["distances"] - theirs["distances"]) / theirs["distances"]).abs().max()
    return _compared(theirs["seconds"], own["seconds"]) | {
        "largest_relative_difference": float(difference),
        "memory": {"plain": theirs["memory"], "ours": own["memory"]},
    }


def gaussian_550(bench: Bench) -> dict[str, Any]:
    """100 images, 550 features, 64 × 64 positions; plain anomalib's batched inverse takes too long to finish."""
    own = bench.in_new_process(parts.gaussian, "ours", 100, 550)
    return {"ours": own["seconds"], "memory": {"ours": own["memory"]}}


def backbones(bench: Bench) -> dict[str, Any]:
    """32 images of 256 × 256 pixels."""
    rows = {}
    for name in (BACKBONE, "resnet18", "wide_resnet50_2"):
        theirs, own = (
            bench.in_new_process(parts.backbone, kind, name, bench.scratch / "cache") for kind in ("plain", "ours")
        )
        again = bench.in_new_process(parts.backbone, "ours", name, bench.scratch / "cache")
        difference = max(
            float((own["features"][layer] - maps).abs().max() / (maps.max() - maps.min()))
            for layer, maps in theirs["features"].items()
        )
        rows[name] = _compared(theirs["seconds"], own["seconds"]) | {
            "images_per_second": {"plain": 32 / theirs["seconds"], "ours": 32 / own["seconds"]},
            "largest_difference_of_range": difference,
            "first_call": {"plain": theirs["first"], "ours": own["first"], "ours_compiled_before": again["first"]},
        }
    return rows


def padim(bench: Bench) -> dict[str, Any]:
    """PaDiM, 100 features, 200 images.

    ``fit`` is with an empty feature store, ``fit_first`` compiles the backbone as well, ``fit_warm`` knows the images.
    """
    row = _detector(bench, "Padim", PADIM, bench.images(200), rounds=3)
    del row["plain_result"]
    return row


def patchcore(bench: Bench) -> dict[str, Any]:
    """PatchCore, ratio 0.1, 100 images; also with anomalib's projection, which is off by default here."""
    folder = bench.images(100)
    row = _detector(bench, "Patchcore", PATCHCORE, folder)
    theirs = row.pop("plain_result")
    projected = _ours(bench, folder, "Patchcore", PATCHCORE | {"projection": True}, bench.fresh())
    return row | {"with_projection": {"fit": projected["fit"], "difference": _differences(theirs, projected)}}


def calibration(bench: Bench) -> dict[str, Any]:
    """Leaving images out of PaDiM (200 images, 100 features) and PatchCore (100 images, 0.1), features known."""
    rows = {}
    for name, arguments, images in (("Padim", PADIM, 200), ("Patchcore", PATCHCORE, 100)):
        setting = ours.Setting(bench.images(images), SIDE, SEED, bench.fresh(), bench.fresh())
        taken = bench.in_new_process(ours.run_calibration, setting, name, arguments, 3)
        seconds = {stage: statistics.median(values) for stage, values in taken.items()}
        rows[name] = seconds | {"images": images, "ratio": seconds["calibrate"] / seconds["fit"]}
    return rows


def sweep(bench: Bench) -> dict[str, Any]:
    """24 configurations over one backbone: in one process, the most expensive one alone, and plain anomalib.

    Plain anomalib runs a third of them, every choice of layers with another ratio. The others are extrapolated: PaDiM
    by their number, PatchCore in proportion to patches times centers, which its coreset takes.
    """
    folder = bench.images(SWEEP_IMAGES)
    configurations = sweep_configurations()
    alone, shared = _sweep(bench, [most_expensive()]), _sweep(bench, configurations)
    measured = [configuration for configuration in configurations if _measured_plainly(*configuration)]
    seconds = []
    for detector, arguments in measured:
        found = bench.in_new_process(plain.run_plain, folder, detector, arguments, SIDE, SEED, bench.fresh())
        seconds.append(found["fit"] + found["test"])
    estimate = 0.0
    for name in ("Padim", "Patchcore"):
        share = sum(_weight(*entry) for entry in configurations if entry[0] == name) / sum(
            _weight(*entry) for entry in measured if entry[0] == name
        )
        estimate += share * sum(took for entry, took in zip(measured, seconds, strict=True) if entry[0] == name)
    return _compared(estimate, sum(shared)) | {
        "plain_is_extrapolated_from": len(measured),
        "plain_measured": seconds,
        "configurations": len(configurations),
        "dearest_alone": sum(alone),
        "times_the_dearest": sum(shared) / sum(alone),
        "each": shared,
    }


def sweep_configurations(count: int = 24) -> list[tuple[str, dict[str, Any]]]:
    """Return the first ``count`` configurations of the sweep: 18 of PatchCore and 6 of PaDiM, mixed."""
    patchcores: list[tuple[str, dict[str, Any]]] = [
        (
            "Patchcore",
            {"backbone": BACKBONE, "layers": layers, "coreset_sampling_ratio": ratio, "num_neighbors": count_},
        )
        for layers in LAYER_CHOICES
        for ratio in RATIOS
        for count_ in (1, 9)
    ]
    padims: list[tuple[str, dict[str, Any]]] = [
        ("Padim", {"backbone": BACKBONE, "layers": layers, "n_features": features})
        for layers in LAYER_CHOICES
        for features in (30, 60)
    ]
    mixed = [entry for index, padim_ in enumerate(padims) for entry in (padim_, *patchcores[3 * index : 3 * index + 3])]
    return mixed[:count]


def most_expensive() -> tuple[str, dict[str, Any]]:
    """Return the most expensive configuration of the sweep."""
    return max(sweep_configurations(), key=lambda entry: _weight(*entry))


def thousand(bench: Bench) -> dict[str, Any]:
    """1,000 images, Wide ResNet-50-2 with random weights, layers 2 and 3, ratio 0.01."""
    folder = bench.scratch / "thousand"
    if not folder.is_dir():
        make_images(1000, SIDE, folder)
    layers = ["layer2", "layer3"]
    arguments = {"backbone": "wide_resnet50_2", "layers": layers, "pre_trained": False, "coreset_sampling_ratio": 0.01}
    found = _ours(bench, folder, "Patchcore", arguments, bench.fresh(), False)
    return {"ours": found["fit"], "memory": {"ours": found["memory"]["host"]}}


def growth(bench: Bench) -> dict[str, Any]:
    """How the cost grows with images, patches, dimensions and configurations, at four sizes each."""
    times: dict[str, dict[str, float]] = {"images": {}, "patches": {}, "dimensions": {}, "configurations": {}}
    for images in (25, 50, 100, 200):
        found = _ours(bench, bench.images(images), "Padim", PADIM, bench.fresh(), False)
        times["images"][str(images)] = found["fit"]
    for patches in (25_000, 50_000, 100_000, 200_000):
        times["patches"][str(patches)] = bench.in_new_process(parts.coreset, "ours", patches, 150, 0.01)["seconds"]
    for dimensions in (50, 100, 200, 400):
        times["dimensions"][str(dimensions)] = bench.in_new_process(parts.gaussian, "ours", 100, dimensions)["seconds"]
    for count in (3, 6, 12, 24):
        times["configurations"][str(count)] = sum(_sweep(bench, sweep_configurations(count)))
    return times


def machine(bench: Bench) -> dict[str, Any]:
    """Operations and bytes a second that the machine can do, to compare with."""
    return bench.in_new_process(parts.machine)


ALL: dict[str, Callable[[Bench], dict[str, Any]]] = {
    work.__name__: work
    for work in (
        machine,
        coreset,
        gaussian,
        gaussian_550,
        backbones,
        padim,
        patchcore,
        calibration,
        sweep,
        thousand,
        growth,
    )
}


def _detector(bench: Bench, detector: str, arguments: dict[str, Any], folder: Path, rounds: int = 1) -> dict[str, Any]:
    """Compare one configuration; seconds are medians over ``rounds``, in each of which both sides take their turn."""
    first = _ours(bench, folder, detector, arguments, bench.fresh(), False)
    compiled = bench.fresh()
    _ours(bench, make_images(4, SIDE, bench.fresh()), detector, arguments, compiled)
    found: dict[str, list[dict[str, Any]]] = {"plain": [], "ours": [], "warm": []}
    for _ in range(rounds):
        theirs = bench.in_new_process(plain.run_plain, folder, detector, arguments, SIDE, SEED, bench.fresh())
        cache = shutil.copytree(compiled, bench.fresh())
        own, warm = (_ours(bench, folder, detector, arguments, cache) for _ in range(2))
        for name, result in zip(found, (theirs, own, warm), strict=True):
            found[name].append(result)

    def seconds(name: str, stage: str) -> float:
        return statistics.median(result[stage] for result in found[name])

    images = len(theirs["labels"])
    fit, test = seconds("plain", "fit"), seconds("plain", "test")
    return {
        "images": {"train": len(list((folder / "train").rglob("*.png"))), "test": images},
        "rounds": rounds,
        "fit": _compared(fit, seconds("ours", "fit")),
        "fit_first": _compared(fit, first["fit"]),
        "fit_warm": _compared(fit, seconds("warm", "fit")),
        "predict": _compared(test, seconds("ours", "test")),
        "images_per_second": {"plain": images / test, "ours": images / seconds("ours", "test")},
        "memory": {"plain": theirs["memory"]["host"], "ours": own["memory"]["host"]},
        "difference": _differences(theirs, own),
        "plain_result": theirs,
    }


def _sweep(bench: Bench, configurations: list[tuple[str, dict[str, Any]]]) -> list[float]:
    folder = bench.images(SWEEP_IMAGES)
    return bench.in_new_process(
        ours.run_sweep, ours.Setting(folder, SIDE, SEED, bench.fresh(), bench.fresh()), configurations
    )


def _ours(
    bench: Bench, folder: Path, detector: str, arguments: dict[str, Any], cache: Path, test: bool = True
) -> dict[str, Any]:
    setting = ours.Setting(folder, SIDE, SEED, bench.fresh(), cache)
    return bench.in_new_process(ours.run_ours, setting, detector, arguments, test)


def _differences(theirs: dict[str, Any], own: dict[str, Any]) -> dict[str, float]:
    """Return the differences of both AUROCs, and the largest relative difference of a score."""
    areas = {
        name: abs(float(roc_auc_score(theirs[truth], theirs[values])) - float(roc_auc_score(own[truth], own[values])))
        for name, truth, values in (("image_AUROC", "labels", "scores"), ("pixel_AUROC", "masks", "maps"))
        if torch.as_tensor(theirs[truth]).any()
    }
    # The two read the test images in different orders, so that sorted scores are compared.
    scores = torch.sort(theirs["scores"].double()).values, torch.sort(own["scores"].double()).values
    return areas | {"scores_relative": float(((scores[1] - scores[0]) / scores[0]).abs().max())}


def _compared(theirs: float, own: float) -> dict[str, float]:
    return {"plain": theirs, "ours": own, "ratio": theirs / own}


def _measured_plainly(detector: str, arguments: dict[str, Any]) -> bool:
    place = LAYER_CHOICES.index(arguments["layers"])
    if detector == "Padim":
        return place != 0 and arguments["n_features"] == 30
    return arguments["coreset_sampling_ratio"] == RATIOS[(0, 1, 2)[place]]


def _weight(detector: str, arguments: dict[str, Any]) -> float:
    """Return a number to which the cost of a configuration of plain anomalib is proportional."""
    if detector == "Padim":
        return 1.0
    patches = SWEEP_IMAGES * (SIDE // (4 if "blocks.1" in arguments["layers"] else 8)) ** 2
    return patches * patches * arguments["coreset_sampling_ratio"]

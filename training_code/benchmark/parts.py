"""Measurements of the parts: coreset, Gaussians, backbone, and what the machine can do."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.components import KCenterGreedy, MultiVariateGaussian, TimmFeatureExtractor
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.padim.spec import SPEC
from training_code.detectors.patchcore.coreset import k_center_greedy
from training_code.evaluation.measurement import peak_memory, reset_peak_memory, wait_for_gpu
from training_code.features.extractor import FeatureExtractor
from training_code.foundation import paths
from training_code.protocol import ComputeOptions

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def coreset(kind: str, points: int, dimensions: int, ratio: float) -> dict[str, Any]:
    """Select a coreset of random points; ``kind`` is plain, plain on the same features, or ours."""
    torch.manual_seed(0)
    np.random.seed(0)
    features = torch.randn(points, dimensions, device=DEVICE)
    start = int(torch.randint(points, (1,), device=DEVICE))
    torch.manual_seed(0)
    torch.randn(points, dimensions, device=DEVICE)  # so that the plain one starts at the same point
    if kind == "ours":
        seconds, order = _timed(lambda: k_center_greedy(features, int(points * ratio), start).order.tolist())
    else:
        # Embeddings of three dimensions are not projected.
        sampler = KCenterGreedy(features if kind == "plain" else features[:, :, None], ratio)
        seconds, order = _timed(sampler.select_coreset_idxs)
    return {"seconds": seconds, "order": order}


def gaussian(kind: str, images: int, features: int, positions: int = 64) -> dict[str, Any]:
    """Fit PaDiM's Gaussians to random features of ``positions`` × ``positions`` and measure distances."""
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.randn(len(part), features, positions, positions, generator=generator).to(DEVICE)
        for part in torch.arange(images).split(32)
    ]
    test = torch.randn(2, features, positions, positions, generator=generator).to(DEVICE) + 0.5
    reset_peak_memory()
    if kind == "plain":
        plain = MultiVariateGaussian().to(DEVICE)
        seconds, _ = _timed(lambda: plain.fit(torch.vstack(batches)))
        distances = AnomalyMapGenerator.compute_distance(test, [plain.mean, plain.inv_covariance])
    else:
        ours = FactorizedGaussian().to(DEVICE)
        seconds, _ = _timed(lambda: ours.fit_batches(batches))
        distances = ours.distances(test)
    return {"seconds": seconds, "distances": distances.cpu(), "memory": peak_memory()["host"]}


def backbone(kind: str, name: str, cache: Path, images: int = 32, side: int = 256) -> dict[str, Any]:
    """Compute features of random images with random weights at the default layers of PaDiM."""
    paths.CACHE = cache
    entry = get_backbone(name)
    assert SPEC.backbone is not None
    layers = entry.default_layers(SPEC.backbone)
    torch.manual_seed(0)
    network = create_network(entry.recipe)
    pixels = torch.randn(images, 3, side, side, device=DEVICE)
    if kind == "plain":
        extractor = TimmFeatureExtractor(entry.architecture, layers, pre_trained=False)
        # timm joins names with _ in some of its feature networks.
        state = {key.replace(".", "_"): tensor for key, tensor in network.state_dict().items()}
        own = extractor.feature_extractor.state_dict()
        extractor.feature_extractor.load_state_dict({key: state[key.replace(".", "_")] for key in own})
    else:
        extractor = FeatureExtractor(network, entry, layers, ComputeOptions())
    extractor = extractor.eval().to(DEVICE)
    with torch.inference_mode():
        first, _ = _timed(lambda: extractor(pixels[:2]))
        runs = [_timed(lambda: extractor(pixels)) for _ in range(3)]
    features = {layer: maps[:2].cpu().clone() for layer, maps in runs[0][1].items()}
    return {"seconds": statistics.median(seconds for seconds, _ in runs), "first": first, "features": features}


def machine() -> dict[str, float]:
    """Measure what the machine can do: products and copies, in operations and bytes a second."""
    speeds = {}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        left, right = (torch.randn(2048, 2048, dtype=dtype, device=DEVICE) for _ in range(2))
        speeds[f"{name}_flops"] = 2 * 2048**3 / _best(partial(torch.matmul, left, right))
    source = torch.zeros(2**26, device=DEVICE)
    target = torch.zeros_like(source)
    speeds["copy_bytes"] = 2 * source.nbytes / _best(lambda: target.copy_(source))
    if DEVICE == "cpu":
        speeds["new_memory_bytes"] = source.nbytes / _best(lambda: torch.ones(2**26))
    return speeds


def _best(work: Callable[[], object]) -> float:
    return min(_timed(work)[0] for _ in range(5))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    wait_for_gpu()
    start = time.perf_counter()
    result = work()
    wait_for_gpu()
    return time.perf_counter() - start, result

"""What Dinomaly and INP-Former have in common: they learn to reconstruct the tokens of a frozen transformer."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.models.components import AnomalibModule, TimmFeatureExtractor
from anomalib.models.image.dinomaly.components import StableAdamW
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn import functional as F

#: The smallest learning rate as a part of the largest.
FINAL = 0.1


def transformer_sizes(extractor: TimmFeatureExtractor) -> dict[str, int]:
    """Return channels and heads of a transformer, which anomalib knows of networks with certain names alone."""
    network: Any = extractor.feature_extractor
    return {"embed_dim": extractor.out_dims[0], "num_heads": network.blocks[0].attn.num_heads}


def untrained_tokens(**options: Any) -> TimmFeatureExtractor:
    """Return anomalib's extractor by its arguments, without trained weights."""
    return TimmFeatureExtractor(**options | {"pre_trained": False})


def warm_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the learning rate at a step as a part of the largest one, as anomalib's `WarmCosineScheduler` does.

    It rises from 0 within ``warmup`` steps and falls to `FINAL` along half a cosine.
    """
    if step < warmup:
        return step / (warmup - 1) if warmup > 1 else 1.0
    part = min(1.0, (step - warmup) / max(1, steps - warmup))
    return FINAL + (1 - FINAL) * (1 + math.cos(math.pi * part)) / 2


def configure_optimizer(
    detector: AnomalibModule, parameters: Iterable[nn.Parameter], options: Mapping[str, Any], part: int
) -> OptimizerLRSchedulerConfig:
    """Return anomalib's optimizer with a learning rate that follows the number of steps of the run.

    anomalib steps the schedule once an epoch, though it is one of steps: the rate is 0 in all of the first epoch, and
    grows for 100 of them. Its state holds arrays of NumPy, with which a training could not resume.

    Parameters
    ----------
    detector
        Attached to a trainer.
    parameters
        Those that are trained.
    options
        Of `StableAdamW`, as anomalib has them.
    part
        The rate rises in one of so many steps, and in 100 steps at most, as the papers' code has it.
    """
    steps = total_steps(detector)
    optimizer = StableAdamW(parameters, **options)
    warmup = min(100, steps // part)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps, warmup))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def total_steps(detector: AnomalibModule) -> int:
    """Return how many steps the run has if nothing stops it early."""
    return int(detector.trainer.estimated_stepping_batches)


def cosine_distance(encoded: list[torch.Tensor], decoded: list[torch.Tensor]) -> torch.Tensor:
    """Return the loss of both detectors for whole maps, of shape (batch, channels, height, width) each."""
    pairs = zip(encoded, decoded, strict=True)
    return torch.stack([(1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).mean() for a, b in pairs]).mean()


def good_images(batch: Batch) -> torch.Tensor:
    """Return the images of a batch that have no defect."""
    assert batch.image is not None and batch.gt_label is not None
    return batch.image[~batch.gt_label.bool()]

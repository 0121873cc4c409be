"""A detector as its run left it: rebuilt from record and checkpoint alone, without weight files."""

import dataclasses
import pickle
from pathlib import Path
from typing import cast

import torch
from anomalib.models.components import AnomalibModule
from torch import nn

from training_code.backbones.networks import create_network
from training_code.backbones.reading import check_recipe
from training_code.detectors.build import build_detector
from training_code.detectors.combined.model import Combined, Part
from training_code.detectors.configuration import Configuration, configure
from training_code.detectors.registry import get_detector
from training_code.detectors.tiling import tiles_for
from training_code.foundation.errors import InputError
from training_code.records.record import Record


def restore_detector(record: Record, checkpoint: Path, source: Path, precision: str | None = None) -> AnomalibModule:
    """Return the detector of a run, on the processor.

    Parameters
    ----------
    record
        Of the run; those of its members are in it.
    checkpoint
        Its file, which is loaded as tensors only.
    source
        The file of the record, for messages.
    precision
        In which the backbone computes; that of the run by default.

    Raises
    ------
    InputError
        If record or checkpoint is damaged, or they do not fit each other.
    """
    state = _load_tensors(checkpoint)
    detector = _build(record, source, precision)
    try:
        detector.load_state_dict(state)
    except Exception as error:  # torch names each tensor that is missing or of another shape
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{checkpoint} does not fit the configuration of its run: {reason}") from error
    return detector


def as_part(record: Record, detector: AnomalibModule) -> Part:
    """Return the detector of a run as it becomes part of another one."""
    normalizes = get_detector(record.detector).normalizes
    return Part(record.detector, detector, record.identity.statistics if normalizes else None)


def _build(record: Record, source: Path, precision: str | None = None) -> AnomalibModule:
    """Return the detector of a run, and the parts that it is made of, with random weights."""
    identity, options = record.identity, record.options
    configuration = configure(record.detector, record.arguments)
    detector = build_detector(
        configuration,
        _network(record, configuration, source),
        tiles_for(identity.protocol.seen_size, identity.protocol.tiling),
        identity.statistics,
        dataclasses.replace(options, backbone_precision=precision or options.backbone_precision),
    )
    if record.members:
        cast(Combined, detector).take([as_part(member, _build(member, source)) for member in record.members])
    return detector


def _network(record: Record, configuration: Configuration, source: Path) -> nn.Module | None:
    """Return the network of the backbone with random weights; None without a backbone."""
    if (record.weights is None) != (configuration.backbone is None):
        raise InputError(f"{source} is damaged: it has a backbone without weights, or weights without a backbone")
    if record.weights is None or configuration.backbone is None:
        return None
    identity, recipe = record.identity, record.weights.recipe
    check_recipe(recipe, configuration.backbone, str(source))
    normalized_by = dataclasses.replace(recipe, mean=identity.mean or (), std=identity.std or ())
    check_recipe(normalized_by, configuration.backbone, str(source))
    return create_network(recipe)


def _load_tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint; nothing of it is executed."""
    try:
        content = torch.load(checkpoint, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{checkpoint} is refused: it would have to run code, or is no checkpoint at all") from error
    except Exception as error:  # torch's readers raise what they like on damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{checkpoint} is damaged: {reason}") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{checkpoint} is no checkpoint of Lightning: it has no state_dict")
    return state

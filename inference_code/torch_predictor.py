"""`TorchPredictor`: the detector of a run, rebuilt from its checkpoint and computed by torch."""

import dataclasses
import pickle
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from anomalib.models.components import AnomalibModule
from torch import nn

from inference_code.images import Prepared, check_reading
from inference_code.predictor import Prediction, Predictor, make_predictions
from inference_code.runs import read_finished
from training_code.backbones.networks import create_network
from training_code.backbones.reading import check_recipe
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import Configuration, configure
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError, unknown
from training_code.foundation.files import sha256
from training_code.foundation.precision import full_precision
from training_code.protocol import PRECISIONS
from training_code.records.record import CHECKPOINT, RECORD, Record


class TorchPredictor(Predictor):
    """The detector of a run, ready for new images.

    Parameters
    ----------
    detector
        The fitted detector, in eval mode.
    record
        The record of its run.
    folder
        The folder of its run.
    """

    runtime = "torch"

    def __init__(self, detector: AnomalibModule, record: Record, folder: Path) -> None:
        self.detector = detector
        self.record = record
        self.folder = folder
        self.thresholds = Thresholds(record.thresholds.get("image"), record.thresholds.get("pixel"))
        self.image_size: tuple[int, int] = record.identity.protocol.image_size

    @classmethod
    def load(
        cls, folder: Path, device: str = "auto", precision: str | None = None, trust_changed: bool = False
    ) -> "TorchPredictor":
        """Load the run in a folder.

        Weight files are not needed: the checkpoint holds the backbone. It is loaded as tensors only.

        Parameters
        ----------
        folder
            The folder of the run.
        device, precision, trust_changed
            As in `inference_code.runtimes.LoadOptions`.

        Raises
        ------
        InputError
            If the run did not end well, its checkpoint was changed or cannot be loaded, or the device is not there.
        """
        place = _device(device)
        record = read_finished(folder)
        check_reading(record.identity.protocol.image_size, record.dataset.bits, str(folder / RECORD))
        precision = _precision(precision, record, place)
        checkpoint = folder / CHECKPOINT
        if not checkpoint.is_file():
            raise InputError(f"{checkpoint} is missing")
        written = record.checkpoint and record.checkpoint.sha256
        if not trust_changed and sha256(checkpoint) != written:
            raise InputError(
                f"{checkpoint} is not the file that its run wrote; trust_changed (--trust-changed) loads it nonetheless"
            )
        state = _load_tensors(checkpoint)
        identity = record.identity
        configuration = configure(record.detector, record.arguments)
        detector = build_detector(
            configuration,
            _network(record, configuration, folder / RECORD),
            identity.protocol.image_size,
            identity.statistics,
            dataclasses.replace(record.options, backbone_precision=precision),
        )
        try:
            detector.load_state_dict(state)
        except Exception as error:  # torch names each tensor that is missing or of another shape
            reason = str(error).strip().splitlines()[-1].strip()
            raise InputError(f"{checkpoint} does not fit the configuration of its run: {reason}") from error
        return cls(detector.to(place).eval(), record, folder)

    def infer(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch; ``index`` is the place in it, ``path`` is None."""
        if not images:
            return []
        start = time.perf_counter()
        with torch.inference_mode(), full_precision():
            batch = torch.stack([image.tensor for image in images]).to(self.detector.device)
            # The transform of training; the module's own forward would resize as exported models do.
            output = self.detector.model(image_transform(self.detector)(batch))
            scores = output.pred_score.flatten().double().cpu().numpy()
            maps = output.anomaly_map.reshape(len(images), *output.anomaly_map.shape[-2:]).float().cpu().numpy()
        return make_predictions(images, scores, maps, time.perf_counter() - start, self.thresholds)


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


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    there += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device not in there:
        raise unknown("device", device, there)
    return torch.device(device)


def _precision(precision: str | None, record: Record, device: torch.device) -> str:
    own = record.options.backbone_precision
    if not record.weights:
        if precision not in (None, own):
            raise InputError(f"precision={precision!r} is for backbones; valid for {record.detector}: {own}")
        return own
    precision = precision or own
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == "float16" and device.type == "cpu":
        raise InputError("precision='float16' needs a GPU; valid on a processor: float32, bfloat16")
    return precision


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

"""`TorchPredictor`: the detector of a run, rebuilt from its checkpoint and computed by torch."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from anomalib.models.components import AnomalibModule

from inference_code.images import Prepared, as_batch, check_reading
from inference_code.predictor import Prediction, Predictor, make_predictions
from inference_code.runs import read_finished
from training_code.detectors.build import image_transform
from training_code.detectors.tiling import predict, tiles_of
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError, unknown
from training_code.foundation.files import sha256
from training_code.foundation.precision import full_precision
from training_code.protocol import PRECISIONS
from training_code.records.record import CHECKPOINT, RECORD, Record
from training_code.restoring import restore_detector


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
        self.geometry = record.geometry

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
        for member in record.members:  # each computes in its own
            _precision(None, member, place)
        checkpoint = folder / CHECKPOINT
        if not checkpoint.is_file():
            raise InputError(f"{checkpoint} is missing")
        written = record.checkpoint and record.checkpoint.sha256
        if not trust_changed and sha256(checkpoint) != written:
            raise InputError(
                f"{checkpoint} is not the file that its run wrote; trust_changed (--trust-changed) loads it nonetheless"
            )
        detector = restore_detector(record, checkpoint, folder / RECORD, precision)
        return cls(detector.to(place).eval(), record, folder)

    def infer(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch; ``index`` is the place in it, ``path`` is None."""
        if not images:
            return []
        start = time.perf_counter()
        with torch.inference_mode(), full_precision():
            detector, batch = self.detector, as_batch(images).to(self.detector.device)
            # The transform of training; the module's own forward would resize as exported models do.
            output = predict(detector.model, tiles_of(detector), batch, image_transform(detector))
            assert output.pred_score is not None and output.anomaly_map is not None
            scores = output.pred_score.flatten().double().cpu().numpy()
            maps = output.anomaly_map.reshape(len(images), *output.anomaly_map.shape[-2:]).float().cpu().numpy()
        return make_predictions(images, scores, maps, time.perf_counter() - start, self.thresholds, self.geometry)


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

"""`Predictor`: the detector of a run, rebuilt from its checkpoint."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anomalib.models.components import AnomalibModule
from numpy.typing import NDArray

from training_code import paths
from training_code.backbones.registry import Recipe
from training_code.comparison.configurations import best_models
from training_code.comparison.table import runs_table
from training_code.data.datamodule import load_image
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.errors import InputError, choices
from training_code.files import sha256
from training_code.records.record import CHECKPOINT, Record, read_record, read_records


@dataclass(frozen=True)
class Prediction:
    """What a detector says about one image."""

    path: Path
    score: float  # raw, as in the run's evaluation; higher is more anomalous
    abnormal: bool | None  # None where the run found no threshold
    anomaly_map: NDArray[np.float32]  # (height, width) of the run's image size, raw


class Predictor:
    """The detector of a run, ready for new images.

    Parameters
    ----------
    detector
        The fitted detector, in eval mode.
    record
        The record of its run.
    """

    def __init__(self, detector: AnomalibModule, record: Record) -> None:
        self.detector = detector
        self.record = record

    @classmethod
    def load(cls, run: str | Path, results: str | Path = "results") -> "Predictor":
        """Load a run by its id, its folder, or ``"best"`` for the highest image AUROC of all runs in ``results``.

        Weight files are not needed: the checkpoint holds the backbone. It is loaded as tensors only.

        Raises
        ------
        InputError
            If there is no such run, it did not end well, or its checkpoint is not the one that it wrote.
        """
        folder = find_run(run, paths.from_root(results))
        try:
            record = read_record(folder)
        except ValueError as error:
            raise InputError(str(error)) from error
        if record is None or record.status != "ok":
            raise InputError(f"the run in {folder} did not end well: {record.error if record else 'it is unfinished'}")
        checkpoint = folder / CHECKPOINT
        if not checkpoint.is_file() or sha256(checkpoint) != record.checkpoint["sha256"]:
            raise InputError(f"{checkpoint} is missing or not the file that its run wrote")
        identity = record.identity
        configuration = configure(record.detector, record.arguments)
        network = Recipe.from_plain_data(record.weights["recipe"]).create() if record.weights else None
        detector = build_detector(
            configuration,
            network,
            tuple(identity["image_size"]),
            identity["normalization"].get("mean"),
            identity["normalization"].get("std"),
            identity["backbone_precision"],
            identity["channels_last"],
            identity["backbone_runtime"],
        )
        detector.load_state_dict(torch.load(checkpoint, "cpu", weights_only=True)["state_dict"])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(detector.to(device).eval(), record)

    def predict(self, images: Iterable[str | Path]) -> Iterator[Prediction]:
        """Predict image files one after the other, in their order.

        Raises
        ------
        InputError
            If a file is not an image that can be read.
        """
        threshold = self.record.thresholds["image"]
        image_size = tuple(self.record.identity["image_size"])
        for path in map(Path, images):
            image = load_image(path, image_size, self.record.dataset["bits"])
            with torch.inference_mode():
                # The transform of training; the module's own forward would resize as exported models do.
                batch = self.detector.pre_processor.transform(image[None].to(self.detector.device))
                output = self.detector.model(batch)
            score = float(output.pred_score)
            anomaly_map = output.anomaly_map.squeeze().float().cpu().numpy()
            yield Prediction(path, score, None if threshold is None else score >= threshold, anomaly_map)


def find_run(run: str | Path, results: Path) -> Path:
    """Return the folder of a run given by its id, its folder, or ``"best"``."""
    folder = results / "runs" / str(run)
    if str(run) == "best":
        best = best_models(runs_table(read_records(results)[0]))
        if best.empty:
            raise InputError(f"{results} holds no run with an image AUROC")
        return results / "runs" / best.loc[best["image_AUROC"].idxmax(), "run_id"]
    for candidate in (folder, paths.from_root(run)):
        if candidate.is_dir():
            return candidate
    known = sorted(entry.name for entry in (results / "runs").glob("*/"))
    raise InputError(f"there is no run {str(run)!r} in {results}; valid: best, {choices(known) or 'none yet'}")

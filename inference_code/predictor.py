"""`Predictor`: the detector of a run, rebuilt from its checkpoint."""

import dataclasses
import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anomalib.models.components import AnomalibModule
from numpy.typing import NDArray

from inference_code.images import Prepared, Source, prepare
from inference_code.pipeline import Batches
from inference_code.postprocessing import make_mask, normalise, threshold_range
from training_code.backbones.backbone import Recipe
from training_code.backbones.networks import create_network
from training_code.comparison.configurations import CRITERION, best_models
from training_code.comparison.table import runs_table
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import configure
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, unknown
from training_code.foundation.files import sha256
from training_code.protocol import PRECISIONS
from training_code.records.record import CHECKPOINT, METRICS, Record, read_record, read_records

BATCH_SIZE = 8


@dataclass(frozen=True)
class Prediction:
    """What a detector says about one image."""

    index: int  # place among the images, from 0
    path: Path | None  # None for what did not come from a file
    score: float  # raw, as in the run's evaluation; higher is more anomalous
    anomaly_map: NDArray[np.float32]  # (height, width) of the run's image size, raw
    size: tuple[int, int]  # height and width of the image as it was
    seconds: float  # that the detector took: of its batch, divided by the number of images
    thresholds: Thresholds

    @property
    def abnormal(self) -> bool | None:
        """The label: whether the score reaches the threshold; None without one."""
        threshold = self.thresholds.image
        return None if threshold is None else self.score >= threshold

    @property
    def normalised_score(self) -> float | None:
        """The score from 0 to 1 with 0.5 at the threshold; None without a threshold above 0."""
        scale = threshold_range(self.thresholds.image)
        return None if scale is None else float(normalise(self.score, scale))

    @property
    def normalised_map(self) -> NDArray[np.float32]:
        """The map from 0 to 1 with 0.5 at the threshold; without one from its own minimum to its maximum."""
        return normalise(self.anomaly_map, threshold_range(self.thresholds.pixel))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the map are abnormal; none without a threshold."""
        return make_mask(self.anomaly_map, self.thresholds.pixel)


@dataclass(frozen=True)
class Failure:
    """An image that could not be predicted."""

    index: int  # place among the images, from 0
    path: Path | None  # None for what did not come from a file
    reason: str


class Predictor:
    """The detector of a run, ready for new images.

    Parameters
    ----------
    detector
        The fitted detector, in eval mode.
    record
        The record of its run.
    folder
        The folder of its run.

    Attributes
    ----------
    thresholds
        Raw scores from which on an image and a pixel are abnormal; those of the run unless others are set.
    runtime
        What computes.
    """

    runtime = "torch"

    def __init__(self, detector: AnomalibModule, record: Record, folder: Path) -> None:
        self.detector = detector
        self.record = record
        self.folder = folder
        self.thresholds = Thresholds(record.thresholds.get("image"), record.thresholds.get("pixel"))
        self.image_size: tuple[int, int] = tuple(record.identity["image_size"])

    @classmethod
    def load(
        cls,
        run: str | Path,
        results: str | Path = "results",
        device: str = "auto",
        precision: str | None = None,
        dataset: str | None = None,
        criterion: str | None = None,
        trust_changed: bool = False,
    ) -> "Predictor":
        """Load a run by its id, its folder, or ``"best"``.

        Weight files are not needed: the checkpoint holds the backbone. It is loaded as tensors only.

        Parameters
        ----------
        run, results, dataset, criterion
            As in `find_run`.
        device
            ``"cpu"``, ``"cuda"``, one GPU as ``"cuda:1"``, or ``"auto"``: a GPU where there is one.
        precision
            One of `PRECISIONS`, in which the backbone computes; that of the run by default. With another one the scores
            differ a little from those of the run.
        trust_changed
            Load a checkpoint that is not the one that the run wrote. What needs to run code is refused in any case.

        Raises
        ------
        InputError
            If there is no such run, it did not end well, its checkpoint was changed or cannot be loaded, or the device
            is not there.
        """
        place = _device(device)
        folder = find_run(run, paths.from_home(results), dataset, criterion)
        record = _read_record(folder)
        precision = _precision(precision, record, place)
        checkpoint = folder / CHECKPOINT
        if not checkpoint.is_file():
            raise InputError(f"{checkpoint} is missing")
        if not trust_changed and sha256(checkpoint) != record.checkpoint.get("sha256"):
            raise InputError(
                f"{checkpoint} is not the file that its run wrote; trust_changed (--trust-changed) loads it nonetheless"
            )
        state = _load_tensors(checkpoint)
        identity = record.identity
        detector = build_detector(
            configure(record.detector, record.arguments),
            create_network(Recipe.from_plain_data(record.weights["recipe"])) if record.weights else None,
            tuple(identity["image_size"]),
            identity["normalization"].get("mean"),
            identity["normalization"].get("std"),
            precision,
            identity["channels_last"],
            identity["backbone_runtime"],
        )
        try:
            detector.load_state_dict(state)
        except Exception as error:  # torch names each tensor that is missing or of another shape
            reason = str(error).strip().splitlines()[-1].strip()
            raise InputError(f"{checkpoint} does not fit the configuration of its run: {reason}") from error
        return cls(detector.to(place).eval(), record, folder)

    def predict(self, images: Iterable[Source], batch_size: int = BATCH_SIZE) -> Iterator[Prediction | Failure]:
        """Predict images in their order; what cannot be read becomes a `Failure` and does not stop the others.

        Images are read and resized in other threads, at most two batches ahead.

        Parameters
        ----------
        images
            Files, images of Pillow, or arrays; see `inference_code.images.read_pixels`.
        batch_size
            Number of images that the detector gets at once.
        """
        batches = Batches(enumerate(images), lambda item: self.prepare(item[1]), check_batch_size(batch_size))
        for batch in batches:
            predicted = iter(self.infer([made for _, made, _ in batch if isinstance(made, Prepared)]))
            for (index, image), made, _ in batch:
                path = Path(image) if isinstance(image, str | Path) else None
                if isinstance(made, InputError):
                    yield Failure(index, path, str(made))
                else:
                    yield dataclasses.replace(next(predicted), index=index, path=path)

    def prepare(self, image: Source) -> Prepared:
        """Read an image and resize it as for training; may be called in several threads at once.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        return prepare(image, self.image_size, self.record.dataset.get("bits", 16))

    def infer(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch; ``index`` is the place in it, ``path`` is None."""
        if not images:
            return []
        start = time.perf_counter()
        with torch.inference_mode():
            batch = torch.stack([image.tensor for image in images]).to(self.detector.device)
            # The transform of training; the module's own forward would resize as exported models do.
            output = self.detector.model(image_transform(self.detector)(batch))
            scores = output.pred_score.flatten().double().cpu().tolist()
            maps = output.anomaly_map.reshape(len(images), *output.anomaly_map.shape[-2:]).float().cpu().numpy()
        seconds = (time.perf_counter() - start) / len(images)
        return [
            Prediction(index, None, score, anomaly_map, image.size, seconds, self.thresholds)
            for index, (image, score, anomaly_map) in enumerate(zip(images, scores, maps, strict=True))
        ]


def find_run(run: str | Path, results: Path, dataset: str | None = None, criterion: str | None = None) -> Path:
    """Return the folder of a run given by its id, its folder, or ``"best"``.

    Parameters
    ----------
    run, results
        The run, and the folder that holds ``runs/``.
    dataset, criterion
        For ``"best"``: the run of the configuration with the highest ``criterion``, `CRITERION` by default, on a
        dataset. Without a dataset it is the highest on any, which says little where they are not equally hard.

    Raises
    ------
    InputError
        If there is no such run, dataset or criterion.
    """
    if str(run) == "best":
        return _find_best(results, dataset, criterion or CRITERION)
    if dataset is not None or criterion is not None:
        raise InputError(f"dataset and criterion choose among runs; valid with them: best, not {str(run)!r}")
    for candidate in (results / "runs" / str(run), paths.from_home(run)):
        if candidate.is_dir():
            return candidate
    known = sorted(entry.name for entry in (results / "runs").glob("*/"))
    raise InputError(f"there is no run {str(run)!r} in {results}; valid: best, {choices(known) or 'none yet'}")


def _find_best(results: Path, dataset: str | None, criterion: str) -> Path:
    if criterion not in METRICS:
        raise unknown("criterion", criterion, METRICS)
    table = runs_table(read_records(results)[0])
    if dataset is not None:
        known = sorted(table["dataset"].unique()) if len(table) else []
        if dataset not in known:
            raise unknown("dataset", dataset, known)
        table = table[table["dataset"] == dataset]
    best = best_models(table, criterion) if len(table) else table
    if best.empty:
        of = f" of {dataset}" if dataset else ""
        raise InputError(f"{results} holds no run{of} with {criterion}")
    return results / "runs" / best.loc[best[criterion].astype(float).idxmax(), "run_id"]


def check_batch_size(batch_size: int) -> int:
    """Return a number of images that is at least 1."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r} is out of range; valid: 1 or more")
    return batch_size


def _read_record(folder: Path) -> Record:
    try:
        record = read_record(folder)
    except ValueError as error:
        raise InputError(str(error)) from error
    if record is None or record.status != "ok":
        raise InputError(f"the run in {folder} did not end well: {record.error if record else 'it is unfinished'}")
    return record


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    there += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device not in there:
        raise unknown("device", device, there)
    return torch.device(device)


def _precision(precision: str | None, record: Record, device: torch.device) -> str:
    own = record.identity["backbone_precision"]
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

"""`Experiment`: one dataset under one protocol, on which configurations are run.

`Experiment.run` is the only place where the stages are composed: data, features, detector, evaluation, record.
"""

import csv
import dataclasses
import datetime
import html
import io
import math
import operator
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import seed_everything

from training_code import paths
from training_code.backbones.layers import map_sizes
from training_code.backbones.registry import IMAGENET_MEAN, IMAGENET_STD, Backbone, Recipe
from training_code.backbones.weights import Weights, find_weights, load_backbone, random_weights
from training_code.cache import TensorCache
from training_code.data.datamodule import SampleDataModule, split_validation
from training_code.data.dataset import Dataset, read_dataset
from training_code.data.pictures import dataset_html
from training_code.detectors.build import build_detector, feature_extractor, stop_sharing
from training_code.detectors.configuration import Configuration, configure
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import load_object
from training_code.errors import InputError, MissingWeightsError, choices, unknown
from training_code.evaluation.curves import LEARNING_CURVES, draw_learning_curves
from training_code.evaluation.examples import write_examples
from training_code.evaluation.measurement import peak_memory, reset_peak_memory, timed
from training_code.evaluation.metrics import bootstrap_intervals, compute_by_defect_type, compute_metrics
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds, find_thresholds
from training_code.features.extractor import PRECISIONS
from training_code.features.runtime import COMPILED_PRECISIONS, RUNTIMES
from training_code.features.store import MODES, FeatureStore
from training_code.files import sha256, write_text
from training_code.records.code import code_hash
from training_code.records.environment import describe_environment, git_commit
from training_code.records.record import (
    CHECKPOINT,
    EXAMPLES,
    SCORES,
    TENSORBOARD,
    Identity,
    Record,
    Status,
)
from training_code.records.run import Run, SkippedRun
from training_code.records.store import RunStore
from training_code.training import QuietEngine

NORMALIZATIONS = ("backbone", "imagenet")
#: Whether training in epochs is logged for TensorBoard.
TENSORBOARD_MODES = ("on", "off")


@dataclass(frozen=True)
class PreparedRun:
    """A checked configuration with its weight file, and the identity of the run that it would be."""

    configuration: Configuration
    weights: Weights | None  # None for a detector without a backbone
    identity: Identity

    @property
    def run_id(self) -> str:
        """Stable name of the run."""
        return self.identity.run_id


class Experiment:
    """A dataset under one protocol; each configuration that is run on it becomes a recorded run.

    Parameters
    ----------
    dataset
        Name of a folder in ``data/`` or a path; see `training_code.data.layout`.
    image_size
        Height and width in pixels that images are resized to; one number for squares.
    seed
        Covers everything: held-out images, random features, coresets, initial weights, order of the images.
    normalization
        ``"backbone"``: mean and deviation that the backbone was trained with. ``"imagenet"``: ImageNet's for every
        backbone, as in anomalib's defaults.
    validation_split
        Part of the defect-free training images that is held out for finding thresholds; with 0 there is no
        ``F1Score``.
    backbone_precision
        ``"float32"``; or mixed precision, ``"bfloat16"``, and ``"float16"`` on a GPU: faster, with features that differ
        a little.
    channels_last
        Whether the backbone computes with the channels side by side in memory, which suits GPUs in mixed precision.
    backbone_runtime
        ``"auto"``: OpenVINO on a processor, torch on a GPU and for what OpenVINO cannot take; or one of the two.
    feature_store
        Whether features are kept on disk and shared with other configurations: ``"auto"`` where reading them is faster
        than computing them, ``"on"``, ``"off"``. Decoded images and coresets are shared in any case.
    train_batch_size, eval_batch_size, num_workers
        As in anomalib. The number of workers has no influence on the numbers. Detectors that train in epochs may have a
        ``batch_size`` of their own.
    tensorboard
        ``"on"``: training in epochs is logged for TensorBoard, into the folder of the run; ``"off"``.
    results
        Folder for the runs, relative to `training_code.paths.HOME`: the repository, or what ``ANOMALY_HOME`` names.

    Raises
    ------
    InputError
        If the dataset cannot be used or a value is out of range.
    """

    def __init__(
        self,
        dataset: str | Path,
        *,
        image_size: int | tuple[int, int] = 256,
        seed: int = 42,
        normalization: str = "backbone",
        validation_split: float = 0.1,
        backbone_precision: str = "float32",
        channels_last: bool = False,
        backbone_runtime: str = "auto",
        feature_store: str = "auto",
        train_batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        tensorboard: str = "on",
        results: str | Path = "results",
    ) -> None:
        self.image_size = _square(image_size)
        self.seed = _whole("seed", seed, 0, 2**32 - 1)
        if normalization not in NORMALIZATIONS:
            raise unknown("normalization", normalization, NORMALIZATIONS)
        self.normalization = normalization
        if not isinstance(validation_split, int | float) or not 0 <= validation_split <= 0.5:
            raise InputError(f"validation_split={validation_split!r} is out of range; valid: 0 to 0.5")
        self.validation_split = float(validation_split)
        if backbone_precision not in PRECISIONS:
            raise unknown("backbone_precision", backbone_precision, PRECISIONS)
        if backbone_precision == "float16" and not torch.cuda.is_available():
            raise InputError("backbone_precision='float16' needs a GPU; valid without one: float32, bfloat16")
        self.backbone_precision = backbone_precision
        if not isinstance(channels_last, bool):
            raise InputError(f"channels_last={channels_last!r} must be True or False")
        self.channels_last = channels_last
        if backbone_runtime not in RUNTIMES:
            raise unknown("backbone_runtime", backbone_runtime, RUNTIMES)
        if backbone_runtime == "openvino" and backbone_precision not in COMPILED_PRECISIONS:
            raise InputError(
                f"backbone_runtime='openvino' does not compute in {backbone_precision}; valid: "
                f"{choices(COMPILED_PRECISIONS)}"
            )
        self.backbone_runtime = backbone_runtime
        if feature_store not in MODES:
            raise unknown("feature_store", feature_store, MODES)
        self.feature_store = feature_store
        self.train_batch_size = _whole("train_batch_size", train_batch_size, 1)
        self.eval_batch_size = _whole("eval_batch_size", eval_batch_size, 1)
        self.num_workers = _whole("num_workers", num_workers, 0)
        if tensorboard not in TENSORBOARD_MODES:
            raise unknown("tensorboard", tensorboard, TENSORBOARD_MODES)
        self.tensorboard = tensorboard
        self.store = RunStore(paths.from_root(results))
        self.dataset: Dataset = read_dataset(dataset)
        self.runs: list[Run | SkippedRun] = []

    def run(self, detector: type | str, *, rerun: bool = False, **arguments: Any) -> Run | SkippedRun:
        """Train and evaluate one configuration, or return its stored result.

        Parameters
        ----------
        detector
            anomalib's class, or its name.
        rerun
            Train again although there is a stored result; it is replaced when the new one is complete.
        **arguments
            anomalib's arguments of the detector; ``max_epochs`` too for detectors that train in epochs.

        Returns
        -------
        Run or SkippedRun
            The recorded run; a `SkippedRun` with the reason where the weight file is absent.

        Raises
        ------
        InputError
            Before any computation, if the configuration is wrong.
        """
        try:
            prepared = self.prepare(detector, arguments)
        except MissingWeightsError as error:
            return self._note(SkippedRun(str(configure(detector, arguments)), str(error)))
        with self.store.locked(prepared.run_id):
            if not rerun and (record := self.store.stored(prepared.run_id)):
                return self._note(Run(self.store.folder(prepared.run_id), record, stored=True))
            if rerun:
                self.store.forget_unfinished(prepared.run_id)
            return self._note(self._train(prepared))

    def prepare(self, detector: type | str, arguments: Mapping[str, Any]) -> PreparedRun:
        """Check a configuration, find its weight file, and tell the identity of its run; nothing is computed.

        Raises
        ------
        InputError
            If the configuration is wrong; as `MissingWeightsError` if the weight file is absent.
        """
        configuration = configure(detector, arguments)
        entry, backbone, values = get_detector(configuration.detector), configuration.backbone, configuration.arguments
        weights: Weights | None = None
        normalization: dict[str, Any] = {"mode": "none"}
        if backbone is not None:
            weights = find_weights(backbone) if values["pre_trained"] else random_weights(backbone)
            mean, std = self._normalization(weights.recipe)
            normalization = {"mode": self.normalization, "mean": mean, "std": std}
        self._check_fits(configuration)
        identity = Identity(
            detector=configuration.detector,
            arguments=values,
            image_size=self.image_size,
            normalization=normalization,
            seed=self.seed,
            validation_split=self.validation_split,
            train_batch_size=values.get("batch_size") or self.train_batch_size,
            eval_batch_size=self.eval_batch_size,
            dataset_fingerprint=self.dataset.fingerprint,
            weights_sha256=weights.sha256 if weights else None,
            files_sha256=entry.files(values),
            **self._backbone_options(backbone),
        )
        return PreparedRun(configuration, weights, identity)

    def table(self) -> pd.DataFrame:
        """Return the runs of this notebook so far, the best image AUROC first."""
        runs = [run for run in self.runs if isinstance(run, Run)]
        rows = [{"run": run.run_id, "pretrained": not run.record.untrained_backbone, **run.metrics} for run in runs]
        frame = pd.DataFrame(rows).drop_duplicates() if rows else pd.DataFrame(columns=["run"])
        column = "image_AUROC" if "image_AUROC" in frame else "run"
        if rows and frame["pretrained"].all():
            frame = frame.drop(columns="pretrained")
        return frame.sort_values(column, ascending=False, ignore_index=True)

    def best(self) -> Run | None:
        """Return the run of this notebook with the highest image AUROC on pretrained weights, None without one."""
        scored = [
            run
            for run in self.runs
            if isinstance(run, Run) and not run.record.untrained_backbone and "image_AUROC" in run.metrics
        ]
        return max(scored, key=lambda run: run.metrics["image_AUROC"], default=None)

    def _repr_html_(self) -> str:
        protocol = (
            f"images resized to {self.image_size[0]} × {self.image_size[1]}, seed {self.seed}, normalization "
            f"{self.normalization}, {self.validation_split:.0%} of the training images held out for thresholds"
        )
        return dataset_html(self.dataset) + f"<p>{html.escape(protocol)}</p>"

    def _check_fits(self, configuration: Configuration) -> None:
        """Refuse what training would stop at: for want of patches, or of images, or with images of this size."""
        images = len(split_validation(self.dataset.select("train"), self.validation_split, self.seed)[0])
        arguments, backbone = configuration.arguments, configuration.backbone
        if backbone is not None and (ratio := arguments.get("coreset_sampling_ratio")):
            sizes = map_sizes(backbone.recipe, self.image_size)
            patches = images * max(math.prod(sizes[layer]) for layer in configuration.layers)
            if patches * ratio < 1:
                raise InputError(
                    f"coreset_sampling_ratio={ratio} selects nothing of {patches} patches of {images} images"
                )
        if arguments.get("patience") and not self.validation_split:
            raise InputError("patience needs validation images: with validation_split=0 there are none; valid: None")
        entry = get_detector(configuration.detector)
        if not entry.normalizes and backbone is None and self.normalization == "imagenet":
            raise InputError(
                f"normalization='imagenet' is not for {entry.name}, which takes images with values from 0 to 1; valid: "
                "backbone, which leaves them as they are where there is no backbone"
            )
        entry.check(arguments, self.image_size, images)

    def _backbone_options(self, backbone: Backbone | None) -> dict[str, Any]:
        """Return how the backbone computes; without one the defaults, so that what does nothing makes no other run."""
        if backbone is None:
            return {"backbone_precision": "float32", "channels_last": False, "backbone_runtime": "auto"}
        names = ("backbone_precision", "channels_last", "backbone_runtime")
        return {name: getattr(self, name) for name in names}

    def _note(self, run: Run | SkippedRun) -> Run | SkippedRun:
        self.runs.append(run)
        return run

    def _normalization(self, recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (recipe.mean, recipe.std) if self.normalization == "backbone" else (IMAGENET_MEAN, IMAGENET_STD)

    def _record(self, prepared: PreparedRun, started: str, **findings: Any) -> Record:
        weights = prepared.weights
        return Record(
            run_id=prepared.run_id,
            identity=prepared.identity.as_plain_data(),
            dataset={
                "name": self.dataset.name,
                "folder": paths.relative_to_root(self.dataset.root),
                "fingerprint": self.dataset.fingerprint,
                "counts": self.dataset.counts,
                "bits": self.dataset.bits,
                "notes": list(self.dataset.notes),
            },
            weights={}
            if weights is None
            else {
                "file": None if weights.path is None else paths.relative_to_root(weights.path),
                "sha256": weights.sha256,
                "source": weights.source,
                "naming": weights.naming,
                "pretrained": weights.pretrained,
                "recipe": dataclasses.asdict(weights.recipe),
            },
            environment=describe_environment(),
            git_commit=git_commit(),
            code_sha256=code_hash(prepared.configuration.detector),
            started=started,
            finished=_now(),
            **findings,
        )

    def record_failure(self, prepared: PreparedRun, status: Status, error: str) -> None:
        """Record that a run did not end well, unless there is a result of it or another process is at it."""
        self.store.write_failure_unless_locked(self._record(prepared, _now(), status=status, error=error))

    def _train(self, prepared: PreparedRun) -> Run:
        """Run all stages in a folder beside the final one and publish it; the lock of the run is held."""
        started = _now()
        with self.store.staging(prepared.run_id) as staging:
            try:
                record = self._record(prepared, started, status="ok", **self._stages(prepared, staging))
                return Run(self.store.publish(staging, record), record)
            except Exception as error:
                if isinstance(error, FloatingPointError):  # it would diverge again from where it was
                    self.store.forget_unfinished(prepared.run_id)
                message = "".join(traceback.format_exception_only(error)).strip()
                self.store.write_failure(self._record(prepared, started, status=_failure(error), error=message))
                raise

    def _stages(self, prepared: PreparedRun, folder: Path) -> dict[str, Any]:
        """Train, predict and evaluate; write checkpoint, scores and pictures to ``folder``; return the findings."""
        configuration, weights = prepared.configuration, prepared.weights
        entry = get_detector(configuration.detector)
        times: dict[str, float] = {}
        note = partial(self.store.note_stage, prepared.run_id)
        note("preparing")
        reset_peak_memory()
        cache = TensorCache()
        # Detectors that reconstruct images take features of altered ones, which never come again.
        store = FeatureStore(cache, self.feature_store) if entry.normalizes else None
        datamodule = SampleDataModule(
            self.dataset,
            self.image_size,
            self.validation_split,
            self.seed,
            prepared.identity.train_batch_size,
            self.eval_batch_size,
            self.num_workers,
            cache,
        )
        seed_everything(self.seed, workers=True, verbose=False)
        network = load_backbone(weights) if weights else None
        seed_everything(self.seed, workers=True, verbose=False)  # as if making the network had drawn nothing
        normalization = prepared.identity.normalization
        detector = build_detector(
            configuration,
            network,
            self.image_size,
            normalization.get("mean"),
            normalization.get("std"),
            self.backbone_precision,
            self.channels_last,
            self.backbone_runtime,
            store,
        )
        unfinished = self.store.unfinished(prepared.run_id)
        logs = folder / TENSORBOARD if self.tensorboard == "on" else None
        engine = QuietEngine(configuration, folder / CHECKPOINT, logs, unfinished, self.seed)
        training: dict[str, Any] = {}
        if entry.before_training is not None:
            note("codebook")
            with timed(times, "codebook"):
                prepare = load_object(entry.before_training)
                training["codebook"] = prepare(detector, prepared.identity, datamodule.train_data)
        note("training")
        with timed(times, "fit"):
            engine.fit(detector, datamodule)
        times["fit"] += engine.resumed_seconds
        note("testing")
        validation = engine.predict(detector, datamodule.val_dataloader()) if datamodule.val_data else None
        with timed(times, "test"):
            test = engine.predict(detector, datamodule.test_dataloader())
        if not all(np.isfinite(found.scores).all() for found in (test, validation) if found):
            raise FloatingPointError(f"{configuration.detector} gives scores that are not finite: training diverged")
        extractor = feature_extractor(detector)
        features = extractor.describe(engine.device) if extractor else {}
        stop_sharing(detector)
        note("evaluating")
        times["latency"] = engine.latency(detector, self.image_size)
        thresholds = find_thresholds(validation)
        with timed(times, "metrics"):
            findings = {
                "metrics": compute_metrics(test, thresholds),
                "validation": compute_metrics(validation, thresholds) if validation else {},
                "intervals": bootstrap_intervals(test),
                "by_defect_type": compute_by_defect_type(test),
            }
        write_text(folder / SCORES, _scores_csv(test, thresholds, self.dataset.root))
        write_examples(test, thresholds, folder / EXAMPLES)
        training |= engine.training
        if curves := training.get("curves"):
            draw_learning_curves(curves, folder / EXAMPLES / LEARNING_CURVES)
        checkpoint = folder / CHECKPOINT
        return findings | {
            "thresholds": {"image": thresholds.image, "pixel": thresholds.pixel},
            "times": times,
            "memory": peak_memory(),
            "features": features,
            "training": training,
            "checkpoint": {"sha256": sha256(checkpoint), "bytes": checkpoint.stat().st_size},
        }


def _scores_csv(predictions: Predictions, thresholds: Thresholds, root: Path) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "defect_type", "label", "score", "prediction"])
    for path, defect_type, label, score in zip(
        predictions.paths, predictions.defect_types, predictions.labels, predictions.scores, strict=True
    ):
        prediction = "" if thresholds.image is None else int(score >= thresholds.image)
        writer.writerow([path.relative_to(root).as_posix(), defect_type, int(label), repr(float(score)), prediction])
    return text.getvalue()


def _failure(error: Exception) -> Status:
    return "out_of_memory" if isinstance(error, MemoryError | torch.OutOfMemoryError) else "failed"


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _square(image_size: int | tuple[int, int]) -> tuple[int, int]:
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(sides) != 2:
        raise InputError(f"image_size={image_size!r} must be one number, or height and width")
    return _whole("image_size", sides[0], 32, 8192), _whole("image_size", sides[1], 32, 8192)


def _whole(name: str, value: Any, low: int, high: float = math.inf) -> int:
    """Return a whole number, also one of numpy's, if it is in range."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise InputError(f"{name}={value!r} is out of range; valid: a whole number {low} to {high}")
    return number

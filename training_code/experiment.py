"""`Experiment`: one dataset under one protocol, on which configurations are run.

What a run does is in `training_code.pipeline`; here a run is looked up, locked, recorded and shown.
"""

import dataclasses
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import torch

from training_code.data.dataset import Dataset
from training_code.data.places import Named
from training_code.detectors.configuration import configure
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import load_object
from training_code.display.run import Run, SkippedRun
from training_code.display.setup import Setup, setup_html, setup_line
from training_code.foundation import paths
from training_code.foundation.clock import now
from training_code.foundation.errors import MissingWeightsError
from training_code.foundation.memory import allowing, memory_limit
from training_code.pipeline import Places
from training_code.preparation import DEFAULT_SEED, PreparedRun, prepare, read_conditions
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.recording import make_record
from training_code.records.leases import LostLeaseError
from training_code.records.metrics import criterion_metric
from training_code.records.promises import wants_other_thresholds
from training_code.records.record import Record, Status
from training_code.records.rethresholding import follow
from training_code.records.store import RunStore


class Experiment:
    """A dataset under one protocol; each configuration that is run on it becomes a recorded run.

    Parameters
    ----------
    dataset
        Name of a folder in ``data/`` or a path; see `training_code.data.layout`. Several of them, in a list or joined
        as ``"boards_a+boards_b"``, are products that one detector is trained on; see `training_code.data.joined`.
    seed
        Seed of everything random: held-out images, random features, coresets, initial weights, order of the images.
    results
        Folder for the runs, relative to `training_code.foundation.paths.HOME`: the repository, or what
        ``ANOMALY_HOME`` names.
    protocol, compute
        Fields of `training_code.protocol.ExperimentProtocol` and of `training_code.protocol.ComputeOptions`.
    **options
        The same fields on their own: ``image_size=128``.

    Raises
    ------
    InputError
        If the dataset cannot be used or a value is out of range.

    Examples
    --------
    Six gray plates; one in five of them is held out for testing, since there are no test images. The layers of
    PatchCore are those of its paper.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp()) / "plates"
    >>> for number in range(6):
    ...     path = folder / "normal" / f"{number}.png"
    ...     path.parent.mkdir(parents=True, exist_ok=True)
    ...     Image.new("L", (32, 32), 120 + number).save(path)
    >>> experiment = Experiment(folder, image_size=32, results=folder.parent / "results")
    >>> experiment.dataset.counts
    {'train/good': 5, 'test/good': 1}
    >>> prepared = experiment.prepare("Patchcore", {"backbone": "resnet18", "pre_trained": False})
    >>> prepared.configuration.layers
    ['layer2', 'layer3']
    """

    def __init__(
        self,
        dataset: Named,
        *,
        seed: int = DEFAULT_SEED,
        results: str | Path = "results",
        protocol: Mapping[str, Any] = MappingProxyType({}),
        compute: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        self.conditions = read_conditions(dataset, seed=seed, protocol=protocol, compute=compute, **options)
        self.store = RunStore(paths.from_home(results))
        self.runs: list[Run | SkippedRun] = []

    @property
    def dataset(self) -> Dataset:
        """The dataset, as it was read."""
        return self.conditions.dataset

    @property
    def protocol(self) -> ExperimentProtocol:
        """The conditions under which numbers can be compared."""
        return self.conditions.protocol

    @property
    def compute(self) -> ComputeOptions:
        """How numbers are computed."""
        return self.conditions.compute

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn at random."""
        return self.conditions.seed

    def run(
        self, detector: type | str, *, rerun: bool = False, varied_anomalies: bool = False, **arguments: Any
    ) -> Run | SkippedRun:
        """Train and evaluate one configuration, or return its stored result.

        A stored run gets the thresholds that the protocol asks for, where it has other ones; a sentence says so.

        Parameters
        ----------
        detector
            anomalib's class, or its name.
        rerun
            Train again although there is a stored result; it is replaced when the new one is complete.
        varied_anomalies
            Whether PaDiM and other detectors that leave images out judge good images with anomalies of many kinds, too,
            which a search without labels goes by: it asks for that itself. Nothing else depends on it.
        **arguments
            anomalib's arguments of the detector; ``max_epochs`` too for detectors that train in epochs. The runs that
            `training_code.detectors.combined` combines may be given as this method returned them.

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
            return self._note(SkippedRun(str(configure(detector, _by_id(detector, arguments))), str(error)))
        if not self.runs:
            self.store.sweep_up()
        with self.store.locked(prepared.run_id):
            if not rerun and (record := self.store.stored(prepared.run_id)):
                return self._note(self._stored(record, prepared.identity.protocol))
            if rerun:
                self.store.forget_unfinished(prepared.run_id)
            return self._note(self._train(prepared, varied_anomalies))

    def prepare(self, detector: type | str, arguments: Mapping[str, Any]) -> PreparedRun:
        """Check a configuration, find its weight file, and return the identity of its run; nothing is computed.

        Raises
        ------
        InputError
            If the configuration is wrong; as `MissingWeightsError` if the weight file is absent.
        """
        for run in _combined(detector, arguments):
            if isinstance(run, SkippedRun):
                raise MissingWeightsError(f"a run that it combines was skipped: {run.reason}")
        return prepare(self.conditions, detector, _by_id(detector, arguments), self.store)

    def table(self, criterion: str = "image_AUROC") -> pd.DataFrame:
        """Return the runs of this notebook so far, the best ``criterion`` first.

        Raises
        ------
        InputError
            If there is no such metric.
        """
        metric = criterion_metric(criterion)
        runs = [run for run in self.runs if isinstance(run, Run)]
        rows = [{"run": run.run_id, "pretrained": not run.record.untrained_backbone, **run.metrics} for run in runs]
        frame = pd.DataFrame(rows).drop_duplicates() if rows else pd.DataFrame(columns=["run"])
        if rows and frame["pretrained"].all():
            frame = frame.drop(columns="pretrained")
        if criterion not in frame:
            return frame.sort_values("run", ascending=False, ignore_index=True)
        return frame.sort_values(criterion, ascending=not metric.larger_is_better, ignore_index=True)

    def best(self, criterion: str = "image_AUROC") -> Run | None:
        """Return the run of this notebook with the best ``criterion`` on pretrained weights, None without one.

        Raises
        ------
        InputError
            If there is no such metric.
        """
        metric = criterion_metric(criterion)
        scored = [
            run
            for run in self.runs
            if isinstance(run, Run) and not run.record.untrained_backbone and criterion in run.metrics
        ]
        return max(scored, key=lambda run: metric.gain(run.metrics[criterion]), default=None)

    @property
    def setup(self) -> Setup:
        """The images and conditions of the runs, as `training_code.display.setup` shows it."""
        results = paths.relative_to_home(self.store.results)
        return Setup(self.dataset, self.protocol, self.compute, self.seed, results)

    def __repr__(self) -> str:
        """Return one line: dataset, split, size and seed."""
        return setup_line(self.setup)

    def _repr_html_(self) -> str:
        return setup_html(self.setup)

    def _note(self, run: Run | SkippedRun) -> Run | SkippedRun:
        self.runs.append(run)
        return run

    def _stored(self, record: Record, protocol: ExperimentProtocol) -> Run:
        """Return a stored run, with the thresholds of a protocol if it can have them; its lock must be held."""
        folder = self.store.find(record.identity.run_id)
        if wants_other_thresholds(record, protocol):
            record, sentence = follow(self.store, folder, record, protocol)
            print(f"{record.run_id}: {sentence}")
        return Run(folder, record, stored=True)

    def _train(self, prepared: PreparedRun, varied_anomalies: bool) -> Run:
        """Run all stages in a folder beside the final one and publish it; the lock of the run must be held."""
        started, conditions = now(), dataclasses.replace(self.conditions, varied_anomalies=varied_anomalies)
        if prepared.need is not None and prepared.need.large:
            print(f"{prepared.run_id}: {prepared.need}")
        with self.store.staging(prepared.run_id) as staging:
            try:
                places = Places(
                    staging, self.store.unfinished(prepared.run_id), partial(self.store.note_stage, prepared.run_id)
                )
                with allowing(memory_limit(self.compute.memory_limit), staging):
                    found = load_object(prepared.spec.stages)(prepared, conditions, places)
                record = make_record(self.conditions, prepared, started, status="ok", **found)
                return Run(self.store.publish(staging, record), record)
            except LostLeaseError:
                raise
            except Exception as error:
                if isinstance(error, FloatingPointError):  # it would diverge again from the saved state
                    self.store.forget_unfinished(prepared.run_id)
                message = "".join(traceback.format_exception_only(error)).strip()
                failure = {"status": _failure(error), "error": message}
                self.store.write_failure(make_record(self.conditions, prepared, started, **failure))
                raise


def _combined(detector: type | str, arguments: Mapping[str, Any]) -> list[Any]:
    """Return the runs that a configuration combines, as they were given: by their ids, or as `Run`; none for others."""
    given = arguments.get(get_detector(detector).combines or "")
    return [*given] if isinstance(given, list | tuple) else []


def _by_id(detector: type | str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments in which the runs that are combined stand by their ids, those that were skipped by a text."""
    runs = _combined(detector, arguments)
    names = [run.run_id if isinstance(run, Run) else repr(run) if isinstance(run, SkippedRun) else run for run in runs]
    return {**arguments, **({get_detector(detector).combines or "": names} if runs else {})}


def _failure(error: Exception) -> Status:
    return "out_of_memory" if isinstance(error, MemoryError | torch.OutOfMemoryError) else "failed"

"""Teaching: a fitted detector takes in good images that it refused, and nothing is trained anew.

What was taught lies in a folder of its own in that of the run, with a record, a checkpoint and scores. The run itself,
whose figures are those of its configuration, stays as it is, to the byte. Every lesson begins with the detector as it
was trained, and holds all images that were taught by then, so that their order makes no difference.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import Dataset, read_dataset
from training_code.data.sample import NORMAL, TEST, TRAIN, Sample
from training_code.data.sample_data import Reading, SampleDataset
from training_code.detectors.configuration import configure
from training_code.detectors.registry import get_detector
from training_code.detectors.teaching import Teachable
from training_code.evaluation.calibration import Calibration
from training_code.findings import evaluate
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.foundation.memory import allowing, memory_limit
from training_code.lessons import Kept, conditions_of, gather, read_anyhow, teachable, weight_of, without_taught
from training_code.pipeline import Trained, calibrate, predict, prepare_data, write
from training_code.preparation import Conditions
from training_code.records.appearance import write_appearance
from training_code.records.reading import write_record
from training_code.records.record import CHECKPOINT, RECORD, Record
from training_code.records.scores import read_scores
from training_code.records.store import RunStore
from training_code.records.taught import IMAGES, TAUGHT, BeforeAndAfter, Taught, TaughtImage
from training_code.restoring import restore_detector
from training_code.training.calibrating import recall_training
from training_code.training.engine import QuietEngine
from training_code.training.taking_in import take_in

# Fields of the record that are those of the taught detector; how it was trained stays as it was.
_FOUND = ("metrics", "intervals", "by_defect_type", "by_area", "by_product", "at", "thresholds", "rules")
_WRITTEN = (*_FOUND, "calibration", "validation", "checkpoint")


@dataclass(frozen=True)
class Lesson:
    """What a detector is taught.

    Attributes
    ----------
    photographs
        Good ones, each with its part: those of one part are left out together.
    weight
        How many times each counts in sums, those of before, too; None for what it was before, or 1.
    checks
        Datasets whose test images are looked at beside those of the run, by name or path.
    """

    photographs: Mapping[Path, str]
    weight: int | None = None
    checks: tuple[str, ...] = ()


def teach(store: RunStore, run_id: str, lesson: Lesson) -> Record:
    """Have the detector of a run take in good images; return the record of the taught one, which is in force then.

    Thresholds are calibrated again: they rest on the same images as before, of which each is left out again.

    Raises
    ------
    InputError
        If the run or the images do not allow it; nothing is changed then.
    """
    with store.locked(run_id):
        folder = store.find(run_id)
        record = teachable(folder, run_id)
        weight = weight_of(record, read_anyhow(folder / TAUGHT), lesson.weight)
        conditions = conditions_of(record)
        checks = {name: read_dataset(name) for name in lesson.checks}
        with store.teaching(run_id) as place:
            datasets = conditions.dataset, *checks.values()
            images = gather(folder / TAUGHT, place / IMAGES, lesson.photographs, datasets)
            parts = {path: image.part for path, image in images.items()}
            kept = [without_taught(dataset, parts) for dataset in datasets]
            conditions = dataclasses.replace(conditions, dataset=kept[0].dataset)
            if not conditions.dataset.select(TEST):
                raise InputError(f"{run_id} has no test image that does not show what is taught; valid: to teach fewer")
            study = _Study(folder, record, conditions, place, images, weight, kept[0])
            with allowing(memory_limit(conditions.compute.memory_limit), place):
                taught = study.run(dict(zip(checks, kept[1:], strict=True)))
            write_record(place, taught)
    return taught


def forget(store: RunStore, run_id: str) -> Taught:
    """Remove what a run was taught, so that its files are those of before; return what that was.

    Raises
    ------
    InputError
        If there is no such run, or nothing was taught.
    """
    with store.locked(run_id):
        folder = store.find(run_id)
        taught = read_anyhow(folder / TAUGHT)
        if taught is None or taught.taught is None:
            raise InputError(f"{run_id} was taught nothing")
        store.forget_taught(run_id)
    return taught.taught


@dataclass(frozen=True)
class _Study:
    """A run that takes in images.

    Attributes
    ----------
    folder, record
        Of the run.
    conditions
        Those of the run; the images that judge are such that do not show what is taught.
    place
        Receives the files of the taught detector.
    images
        What is taught, by path.
    weight
        As in `Lesson`.
    kept
        The dataset of the conditions, and which of its images are of one group with those that are taught.
    """

    folder: Path
    record: Record
    conditions: Conditions
    place: Path
    images: Mapping[Path, TaughtImage]
    weight: int
    kept: Kept

    def run(self, checks: Mapping[str, Kept]) -> Record:
        """Have the detector take in the images, and return its record."""
        record = self.record
        detector = cast(Teachable, restore_detector(record, self.folder / CHECKPOINT, self.folder / RECORD))
        engine = QuietEngine(configure(record.detector, record.arguments), self.place / CHECKPOINT)
        data = self._data()
        assert data.taught_data is not None
        looked_at = {name: self._dataset(kept.dataset.select(TEST), kept.dataset) for name, kept in checks.items()}

        def scores(images: SampleDataset) -> NDArray[np.float64]:
            return engine.predict(detector, data.loader(images)).scores

        taught, before = scores(data.taught_data), {name: scores(images) for name, images in looked_at.items()}
        patches = take_in(detector, data, engine.device, record.training.get("radius"))
        engine.write_checkpoint(detector)
        calibration, written = self._find_anew(detector, engine, data)
        thresholds = record.thresholds.get("image"), written["thresholds"]["image"]
        reports = [self._on_tests(thresholds)]
        for name, images in looked_at.items():
            found = before[name], scores(images)
            reports.append(_report(name, np.array(images.abnormal), found, thresholds, checks[name].left))
        shutil.rmtree(self.place / "engine", ignore_errors=True)
        told = Taught(self._told(taught, calibration), self.weight, patches, thresholds, tuple(reports))
        dataset = dataclasses.replace(record.dataset, counts=self.conditions.dataset.counts)
        found_anew = {name: written[name] for name in _WRITTEN}
        return dataclasses.replace(record, **found_anew, dataset=dataset, taught=told)

    def _data(self) -> SampleDataModule:
        """Return the images of the run, and those that are taught."""
        holds_out = not get_detector(self.record.detector).leaves_out(self.record.arguments)
        data = prepare_data(self.conditions, cache=TensorCache(), holds_out=holds_out)
        taught = self._dataset([Sample(path, TRAIN, NORMAL) for path in self.images], self.conditions.dataset)
        # What shows a part that is taught, too, is left out together with what is taught.
        trained, joined = data.train_data, self.kept.groups
        first = len(data.dataset.groups)  # above the numbers that the data module gave to groups
        codes = {name: first + number for number, name in enumerate(dict.fromkeys(joined.values()))}
        of_path = {str(path): codes[name] for path, name in joined.items()}
        trained.groups = [of_path.get(path, own) for path, own in zip(trained.paths, trained.groups, strict=True)]
        taught.groups = [of_path[path] for path in taught.paths]
        data.judge_without(joined)
        data.taught_data, data.taught_weight = taught, self.weight
        return data

    def _dataset(self, samples: Sequence[Sample], dataset: Dataset) -> SampleDataset:
        """Return images as the detector sees them, without masks."""
        reading = Reading(self.conditions.dataset.bits, dataset.facts)
        return SampleDataset(samples, self.conditions.geometry, False, reading)

    def _find_anew(
        self, detector: Teachable, engine: QuietEngine, data: SampleDataModule
    ) -> tuple[Calibration, dict[str, Any]]:
        """Calibrate and test the taught detector, and write what is found; return what the record keeps of it."""
        if not data.holds_out:
            recall_training(detector, data, engine.device)
        shows_places = get_detector(self.record.detector).shows_places(self.record.arguments)
        trained = Trained(detector, engine, {}, {}, shows_places=shows_places)
        calibration = calibrate(trained, data, varied=False)
        if calibration.good is None:
            raise InputError(
                f"{self.record.run_id} has no good image that does not show what is taught, by which its thresholds "
                "could be calibrated again; valid: to teach fewer"
            )
        predicted = predict(trained, data)
        findings = evaluate(predicted, calibration, self.conditions.protocol)
        written = write(trained, predicted, calibration, findings, self.place, self.conditions)
        write_appearance(self.place, calibration.good, data.train_data, self.conditions.dataset.name_of)
        return calibration, written

    def _told(self, scores: NDArray[np.float64], calibration: Calibration) -> tuple[TaughtImage, ...]:
        """Return what the record keeps of the images, given what was said of them before."""
        without = [None] * len(scores) if calibration.taught is None else calibration.taught.scores.tolist()
        rows = zip(self.images.values(), scores.tolist(), without, strict=True)
        return tuple(dataclasses.replace(image, score=score, left_out=left) for image, score, left in rows)

    def _on_tests(self, thresholds: tuple[float | None, float | None]) -> BeforeAndAfter:
        """Return what changed on the test images, of which the run has kept its scores."""
        after, earlier = read_scores(self.place), read_scores(self.folder)
        known = dict(zip(earlier.paths, earlier.scores.tolist(), strict=True))
        before = np.array([known[path] for path in after.paths])
        return _report("test images of the run", after.labels, (before, after.scores), thresholds, self.kept.left)


def _report(
    name: str,
    defective: NDArray[np.bool_],
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    thresholds: tuple[float | None, float | None],
    left: int,
) -> BeforeAndAfter:
    """Count false alarms and misses among images before and after."""
    limits = [np.inf if threshold is None else threshold for threshold in thresholds]
    called = [values >= limit for values, limit in zip(scores, limits, strict=True)]
    alarms = tuple(int((each & ~defective).sum()) for each in called)
    misses = tuple(int((~each & defective).sum()) for each in called)
    bad = int(defective.sum())
    return BeforeAndAfter(name, len(defective) - bad, bad, left, (alarms[0], alarms[1]), (misses[0], misses[1]))

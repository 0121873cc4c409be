"""The plan of a sweep: one job for each configuration, set of parameters and variation that the sweep file selects."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from training_code.data.dataset import Dataset, read_dataset
from training_code.data.joined import read_datasets
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import (
    InputError,
    MissingRunError,
    MissingWeightsError,
    choices,
    unknown,
)
from training_code.foundation.files import digest
from training_code.preparation import Conditions, PreparedRun, prepare, read_conditions
from training_code.protocol import ExperimentProtocol
from training_code.records.code import code_hash
from training_code.records.environment import package_versions
from training_code.records.identity import Identity
from training_code.records.reading import read_records
from training_code.records.record import Record
from training_code.records.store import RunStore
from training_code.sweep.file import Entry, Sweep, products
from training_code.sweep.job import Job, JobState
from training_code.sweep.notebook import (
    ConfigurationCell,
    TrainingNotebook,
    notebook_path,
    read_notebook,
)
from training_code.sweep.order import in_order
from training_code.sweep.parameters import fold, in_force, parameter_sets, settable
from training_code.sweep.selecting import DETECTOR, is_excluded, select_cells
from training_code.sweep.thresholds import plan_thresholds

# Parts of an identity that stand for the content of files: a run that differs in them alone is stale.
_CONTENTS = {"dataset_fingerprint": "data", "weights_sha256": "weights", "files_sha256": "files"}


def make_plan(sweep: Sweep, planner: "Planner", results: str | None = None) -> list[Job]:
    """Return the jobs of a sweep in the order in which they are run, each once, however often it is selected.

    Everything is checked: notebooks, parameters, selections, datasets, configurations.

    Parameters
    ----------
    results
        Folder for the runs, in place of the notebooks' own.
    """
    jobs: dict[str, Job] = {}
    for job in planner.jobs_of(sweep, results):
        if jobs.setdefault(job.key, job).conditions.protocol != job.conditions.protocol:
            raise InputError(
                f"{sweep.path} asks twice for {job.name}, with other values of "
                f"{choices(ExperimentProtocol.afterwards())}, which make no other run: a run has one of each at a time"
            )
    return in_order(jobs.values())


def left_out(sweep: Sweep) -> list[str]:
    """Return a sentence for each parameter of the whole file that can be set in some of its notebooks only.

    Raises
    ------
    InputError
        If it can be set in none of them.
    """
    without: dict[str, list[str]] = {}
    known: dict[str, None] = {}  # in order
    for entry in sweep.entries:
        notebook = read_notebook(notebook_path(entry.notebook))
        valid = settable(notebook)
        known |= dict.fromkeys(valid)
        for name in entry.shared:
            if name not in valid and notebook.name not in without.setdefault(name, []):
                without[name].append(notebook.name)
    for name in without:
        if name not in known:
            raise unknown(f"parameter in {sweep.path}", name, known)
    return [f"{name} has no effect in {choices(names)} and is left out there" for name, names in without.items()]


class Planner:
    """Makes jobs; caches the datasets and the stored runs that it has read.

    Parameters
    ----------
    rerun_stale
        Whether runs whose code, data or weights have changed since are trained again.
    gpu
        Whether the jobs will be computed on a GPU, which part of their names depends on; None to find out here.
    """

    def __init__(self, rerun_stale: bool = False, gpu: bool | None = None) -> None:
        self.rerun_stale, self.gpu = rerun_stale, gpu
        self._datasets: dict[str, Dataset] = {}  # by name and as read, since conditions of several seeds share one
        self._conditions: dict[str, Conditions] = {}
        self._stores: dict[Path, RunStore] = {}
        self._records: dict[Path, dict[str, Record]] = {}
        self._alike: dict[Path, dict[str, Record]] = {}

    def jobs_of(self, sweep: Sweep, results: str | None = None) -> Iterator[Job]:
        """Return the jobs of a sweep, entry after entry; a configuration that is selected twice comes twice."""
        left_out(sweep)
        for entry in sweep.entries:
            yield from self._jobs_of_entry(entry, sweep.path, results)

    def _jobs_of_entry(self, entry: Entry, path: Path, results: str | None) -> Iterator[Job]:
        notebook = read_notebook(notebook_path(entry.notebook))
        sets, vary = parameter_sets(notebook, entry, results)
        cells = select_cells(notebook, entry.select, path)
        excluded = found = 0
        for parameters in sets:
            for cell, varied in itertools.product(cells, products(vary)):
                arguments = notebook.evaluate(cell.arguments, {**notebook.parameters, **parameters}) | varied
                found += 1
                present = {DETECTOR: cell.detector, **in_force(notebook, parameters), **arguments}
                if entry.exclude and is_excluded(present, entry.exclude, notebook):
                    excluded += 1
                    continue
                yield from self._members(notebook, cell, arguments, parameters)  # what it combines is run, too
                yield self.job(notebook, cell, parameters, arguments if varied else None)
        if entry.exclude and not excluded:
            raise InputError(
                f"{path}: exclude {entry.exclude} matches none of {found} configurations of {notebook.name}"
            )
        if excluded == found:
            raise InputError(f"{path}: exclude {entry.exclude} leaves nothing of {notebook.path.name}")

    def job(
        self,
        notebook: TrainingNotebook,
        cell: ConfigurationCell,
        parameters: dict[str, Any],
        varied: dict[str, Any] | None,
    ) -> Job:
        """Return one job, checked; ``varied`` are all arguments if they are not the cell's own."""
        conditions, store = self._setting(notebook, parameters)
        arguments = varied
        if arguments is None:
            arguments = notebook.evaluate(cell.arguments, {**notebook.parameters, **parameters})
        members = self._members(notebook, cell, arguments, parameters)
        if members:  # the cell that is cut out must not need the others
            by_id = {str(DETECTORS[cell.detector].combines): [member.name for member in members]}
            arguments = varied = {**arguments, **by_id}
        job = Job(notebook, cell, parameters, varied, conditions, store, None, JobState.SKIPPED)
        missing = [member for member in members if member.state in (JobState.SKIPPED, JobState.TO_RUN)]
        if missing:
            skipped = [member for member in missing if member.state is JobState.SKIPPED]
            member = (skipped or missing)[0]
            words = ": ".join(filter(None, [f"it combines {member.name}, which is {member.state}", member.reason]))
            return replace(job, state=JobState.SKIPPED if skipped else JobState.WAITING, reason=words)
        try:
            prepared = prepare(conditions, cell.detector, arguments, store)
        except MissingWeightsError as error:
            return replace(job, reason=str(error))
        except MissingRunError as error:
            return replace(job, state=JobState.WAITING, reason=str(error))
        except InputError as error:
            raise InputError(f"{notebook.path.name}, cell {cell.index + 1}: {error}") from error
        state, reason = self._state(conditions, store, prepared)
        job = replace(job, prepared=prepared, state=state, reason=reason)
        if state is JobState.STORED and (record := self._stored(job)):
            job = plan_thresholds(job, record)
        return replace(job, state=JobState.TO_RUN, rerun=True) if state is JobState.STALE and self.rerun_stale else job

    def again(self, job: Job) -> Job:
        """Return a job that waited for others as it is now that they have ended."""
        self._records.pop(job.store.results, None)
        return self.job(job.notebook, job.cell, job.parameters, job.varied)

    def _members(
        self,
        notebook: TrainingNotebook,
        cell: ConfigurationCell,
        arguments: Mapping[str, Any],
        parameters: dict[str, Any],
    ) -> list[Job]:
        """Return the jobs of the cells whose runs a configuration combines by their names in the notebook."""
        spec = DETECTORS.get(cell.detector)
        named = arguments.get(spec.combines) if spec and spec.combines else None
        if not isinstance(named, list) or not all(name in notebook.assigned for name in named):
            return []
        return [self.job(notebook, notebook.assigned[name], parameters, None) for name in named]

    def records(self, results: Path) -> dict[str, Record]:
        """Return the runs in a results folder as they were when it was first asked for, by run id."""
        if results not in self._records:
            found = [record for _, record in read_records(results)[0]]
            # Also by the name that they would have today, where an older version stored them.
            by_identity = {record.identity.run_id: record for record in found}
            self._records[results] = {record.run_id: record for record in found} | by_identity
            good = (record for record in found if record.status == "ok")
            self._alike[results] = {
                _apart_from_contents(record.identity, record.dataset.folder): record for record in good
            }
        return self._records[results]

    def all_records(self) -> list[Record]:
        """Return all runs that this planner has read."""
        return [record for records in self._records.values() for record in records.values()]

    def _state(self, conditions: Conditions, store: RunStore, prepared: PreparedRun) -> tuple[JobState, str]:
        records = self.records(store.results)
        record = records.get(prepared.run_id)
        if record and record.status == "out_of_memory" and record.retried_as in records:
            if records[record.retried_as].status == "ok":
                return JobState.STORED, f"with half the batch size, as {record.retried_as}"
        if record and record.status == "ok":
            changes = _code_changes(record)
            if changes:
                return JobState.STALE, f"changed since: {choices(changes)}"
            return JobState.STORED, ""
        now = prepared.identity
        older = self._alike[store.results].get(_apart_from_contents(now, conditions.dataset.folder))
        if older is not None:
            changes = [what for name, what in _CONTENTS.items() if getattr(older.identity, name) != getattr(now, name)]
            return JobState.STALE, f"changed since {older.run_id}: {choices(changes)}"
        return JobState.TO_RUN, ""

    def _stored(self, job: Job) -> Record | None:
        """Return the record of a stored job, also of one that was made with half the batch size."""
        records = self.records(job.store.results)
        record = records.get(job.run_id)
        return records.get(record.retried_as) if record and record.retried_as else record

    def _setting(self, notebook: TrainingNotebook, parameters: Mapping[str, Any]) -> tuple[Conditions, RunStore]:
        """Return what the notebook would make its ``Experiment`` of."""
        arguments = notebook.evaluate(notebook.experiment, {**notebook.parameters, **parameters})
        try:
            results = paths.from_home(arguments.pop("results", paths.RESULTS))
            key = repr(sorted(arguments.items()))
            if key not in self._conditions:
                conditions = read_conditions(**arguments | self._read(arguments.get("dataset")))
                self._conditions[key] = conditions if self.gpu is None else replace(conditions, gpu=self.gpu)
        except TypeError as error:
            raise InputError(f"{notebook.path.name}: Experiment: {error}") from error
        return self._conditions[key], self._stores.setdefault(results, RunStore(results))

    def _read(self, dataset: Any) -> dict[str, Dataset]:
        """Return the argument ``dataset`` as it is read, before conditions take labelled images out of its test set."""
        if not isinstance(dataset, str | list):
            return {}
        key = str(dataset)
        if key not in self._datasets:
            self._datasets[key] = read_datasets(dataset, self._read_one)
        return {"dataset": self._datasets[key]}

    def _read_one(self, name: str | Path) -> Dataset:
        """Return a single dataset, which may also be joined with others."""
        key = str(name)
        if key not in self._datasets:
            self._datasets[key] = read_dataset(name)
        return self._datasets[key]


def with_half_the_batch(planner: Planner, job: Job) -> Job | None:
    """Return the job with half its batch size, None where that is 1 or the notebook does not let it be set.

    It is the same run where the batch size has no influence on the numbers.
    """
    names = [name for name in settable(job.notebook) if name in ("train_batch_size", "eval_batch_size")]
    halves = {name: max(1, getattr(job.conditions.compute, name) // 2) for name in names}
    parameters = fold(job.notebook, halves, job.parameters)
    arguments = job.varied
    if "batch_size" in job.arguments:
        given = job.notebook.evaluate(job.cell.arguments, {**job.notebook.parameters, **parameters})
        arguments = (job.varied or given) | {"batch_size": max(1, job.arguments["batch_size"] // 2)}
    halved = planner.job(job.notebook, job.cell, parameters, arguments)
    same = halved.conditions.compute == job.conditions.compute and halved.arguments == job.arguments
    if same:
        return None
    return replace(halved, state=JobState.TO_RUN, rerun=job.rerun, varied_anomalies=job.varied_anomalies)


def _code_changes(record: Record) -> list[str]:
    """Return what has changed of the code since a run, and of the libraries that compute."""
    changes = ["code"] if record.code_sha256 not in (None, code_hash(record.detector)) else []
    now = package_versions()
    then = record.environment.get("packages", {})
    return changes + [f"{name} {then[name]} to {now[name]}" for name in now if then.get(name, now[name]) != now[name]]


def _apart_from_contents(identity: Identity, folder: str) -> str:
    """Return the identity without the contents of files, so that a run on changed files has the same one."""
    parts = dataclasses.asdict(identity).items()
    return digest([folder, {name: value for name, value in parts if name not in _CONTENTS}])

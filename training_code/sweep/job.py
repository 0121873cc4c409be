"""A job of a sweep, and the states that it can have: the one vocabulary of plan, schedule, progress and log."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from training_code.preparation import Conditions, PreparedRun
from training_code.protocol import ExperimentProtocol
from training_code.records.store import RunStore
from training_code.sweep.notebook import ConfigurationCell, TrainingNotebook


class JobState(StrEnum):
    """The state of a job, in the order in which counts of states are shown.

    A plan has jobs that are to run, stored, stale, skipped or waiting; a sweep leaves none that is to run.
    """

    TO_RUN = "to run"
    OK = "ok"  # it ran, and has a result
    STORED = "stored"  # it had a result already
    STALE = "stale"  # it has a result of other code, data or weights, which is kept
    SKIPPED = "skipped"  # its weight file is missing
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WAITING = "waiting"  # runs that it combines are not there yet
    POSTPONED = "postponed"  # it was not started, or stopped because time was up

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do for a job."""
        return self in (JobState.OK, JobState.STORED, JobState.STALE, JobState.SKIPPED)

    @property
    def is_failure(self) -> bool:
        """Whether a job ran and did not end well."""
        return self in (JobState.FAILED, JobState.TIMEOUT, JobState.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Job:
    """One configuration on one dataset with one seed."""

    notebook: TrainingNotebook
    cell: ConfigurationCell
    parameters: dict[str, Any]  # given to papermill
    varied: dict[str, Any] | None  # all arguments, where the sweep changes some of the cell's
    conditions: Conditions
    store: RunStore
    prepared: PreparedRun | None  # None where the weight file is missing, or a run that is combined
    state: JobState
    reason: str = ""  # what is missing, or has changed
    rerun: bool = False  # whether a stored result is replaced
    varied_anomalies: bool = False  # whether they are judged, too, which a search may go by
    rethreshold: str | None = None  # the stored run that gets the thresholds that the job asks for, where it has others

    @property
    def name(self) -> str:
        """Run id; where there is none yet, notebook and cell."""
        return self.prepared.run_id if self.prepared else f"{self.notebook.name}, cell {self.cell.index + 1}"

    @property
    def run_id(self) -> str:
        """Name of the run; only of jobs that can run."""
        if self.prepared is None:
            raise ValueError(f"{self.name} cannot run: {self.reason}")
        return self.prepared.run_id

    @property
    def protocol(self) -> ExperimentProtocol:
        """The protocol, with the rule for thresholds that ``"auto"`` stands for, as far as that is known."""
        return self.conditions.protocol if self.prepared is None else self.prepared.identity.protocol

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments of the configuration, defaults included; only of jobs that can run."""
        if self.prepared is None:
            raise ValueError(f"{self.name} cannot run: {self.reason}")
        return self.prepared.configuration.arguments

    @property
    def backbone(self) -> str | None:
        """Name of the backbone; None without one, and where its weight file is missing."""
        return None if self.prepared is None else self.prepared.configuration.arguments.get("backbone")

    @property
    def key(self) -> str:
        """What distinguishes this job from all others."""
        if self.prepared:
            return f"{self.store.results}/{self.name}"
        return repr((self.name, self.parameters, self.varied))

"""The interface that receives the progress of a sweep's jobs."""

from collections.abc import Sequence
from typing import Protocol

from training_code.records.record import Record
from training_code.sweep.job import JobState


class Reporter(Protocol):
    """Receives the progress of a sweep's jobs, at the moments that the methods are named after."""

    def on_start(self, names: Sequence[str]) -> None:
        """Take note of jobs that are started in one kernel."""

    def on_end(self, name: str, state: JobState, details: str, seconds: float | None, left: float | None) -> None:
        """Take note of a job that has finished, or will not be started.

        Parameters
        ----------
        details
            Text that follows the state.
        seconds
            How long it took; None where it did not run.
        left
            Seconds that the jobs not started yet will take, one after the other; None if there is no estimate.
        """

    def on_result(self, record: Record) -> None:
        """Take note of a run with a result, of this sweep or an earlier one."""

    def on_message(self, line: str) -> None:
        """Take note of any other message."""


class MessageReporter(Reporter):
    """Prints messages, and nothing about single jobs."""

    def on_start(self, names: Sequence[str]) -> None:
        """Do nothing."""

    def on_end(self, name: str, state: JobState, details: str, seconds: float | None, left: float | None) -> None:
        """Do nothing."""

    def on_result(self, record: Record) -> None:
        """Do nothing."""

    def on_message(self, line: str) -> None:
        """Print a message."""
        print(line, flush=True)

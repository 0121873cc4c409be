"""Who is told how the jobs of a sweep go."""

from collections.abc import Sequence
from typing import Protocol

from training_code.records.record import Record
from training_code.sweep.job import JobState


class Reporter(Protocol):
    """Is told how the jobs of a sweep go, at the moments that the methods are named after."""

    def on_start(self, names: Sequence[str]) -> None:
        """Take note of jobs that are begun in one kernel."""

    def on_end(self, name: str, state: JobState, details: str, seconds: float | None, left: float | None) -> None:
        """Take note of a job that has come to its end, or will not be begun.

        Parameters
        ----------
        details
            What is told behind the state.
        seconds
            How long it took; None where it did not run.
        left
            Seconds that those jobs will take, one after the other, that were not begun yet; None where nothing tells.
        """

    def on_result(self, record: Record) -> None:
        """Take note of a run with a result, of this sweep or an earlier one."""

    def on_message(self, line: str) -> None:
        """Take note of what else is worth telling."""


class SilentReporter(Reporter):
    """Tells nobody."""

    def on_start(self, names: Sequence[str]) -> None:
        """Do nothing."""

    def on_end(self, name: str, state: JobState, details: str, seconds: float | None, left: float | None) -> None:
        """Do nothing."""

    def on_result(self, record: Record) -> None:
        """Do nothing."""

    def on_message(self, line: str) -> None:
        """Do nothing."""

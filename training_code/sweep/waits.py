"""Messages about jobs that wait for other processes: for whom and for how long."""

import math
import time
from collections.abc import Iterable

from training_code.sweep.job import Job
from training_code.sweep.reporter import Reporter

# Seconds between two messages about a job.
_REPORT = 60.0


class Waits:
    """Reports jobs that wait, each of them once a minute.

    Parameters
    ----------
    reporter
        Receives the messages.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._known: dict[str, tuple[float, float]] = {}  # since when a job waits, and when that was reported

    def note(self, jobs: Iterable[Job]) -> None:
        """Take note of jobs whose runs other processes work on."""
        now = time.monotonic()
        for job in jobs:
            since, told = self._known.get(job.key, (now, -math.inf))
            self._known[job.key] = since, told
            if now - told >= _REPORT:
                self._known[job.key] = since, now
                whom = f"waits for {job.store.holder(job.run_id)}, which works on the same run"
                self._reporter.on_message(f"{job.name}: {whom}" + (f", for {now - since:.0f} s" if now > since else ""))

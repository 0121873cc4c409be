"""The progress of a sweep: on the screen, in a log, and in a file that ``status`` reads."""

import contextlib
import datetime
import json
import os
import re
import shlex
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from training_code.foundation import paths
from training_code.foundation.clock import duration
from training_code.foundation.errors import InputError
from training_code.foundation.files import write_json
from training_code.foundation.program import called
from training_code.records.record import Record
from training_code.records.store import RunStore
from training_code.sweep.job import JobState
from training_code.sweep.reporter import Reporter

#: The metric of the best run so far.
CRITERION = "image_AUROC"
#: Seconds between two heartbeats of a sweep, and seconds without one after which it counts as gone.
HEARTBEAT, GONE = 5.0, 60.0
# Seconds at least between two writings of the state.
_WRITE_INTERVAL = 0.5


class Progress(Reporter):
    """Shows a sweep that is running, and keeps what it shows on disk.

    On a terminal there is one screen; elsewhere, a line when a job begins and one when it has ended.

    Parameters
    ----------
    name
        Of the sweep.
    total
        Number of jobs.
    results
        The log is ``sweeps/<name>.log`` in it, the state ``sweeps/<name>.<host>.<process>.json``.
    side_by_side
        Jobs at a time.
    """

    def __init__(self, name: str, total: int, results: Path, side_by_side: int = 1) -> None:
        self.name, self.total, self.side_by_side = name, total, side_by_side
        self.results, self.store = results, RunStore(results)
        self.counts: Counter[JobState] = Counter()
        self.failed: dict[str, str] = {}
        self.running: dict[str, float] = {}  # when each was started
        self.best: tuple[str, float] | None = None
        self.seconds_left: float | None = None
        self._started = time.time()
        self._folder = results / "sweeps"
        self._log = self._folder / f"{name}.log"
        self._state = self._folder / f"{name}.{socket.gethostname()}.{os.getpid()}.json"
        self._live: Live | None = None
        self._ended = threading.Event()
        self._written = -_WRITE_INTERVAL
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        self._folder.mkdir(parents=True, exist_ok=True)
        for other in states(self.results):
            if other["name"] == self.name and not other["alive"]:
                other["file"].unlink(missing_ok=True)
        if sys.stdout.isatty():
            self._live = Live(get_renderable=self._screen, console=Console(), refresh_per_second=2)
            self._live.start()
        self._write()
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.running = {}
        self.seconds_left = None if self.seconds_left is None or error else 0.0
        self._write(ended=True)
        if self._live:
            self._live.stop()

    def on_start(self, names: Sequence[str]) -> None:
        """Note jobs that were started; a terminal shows them on its screen."""
        for name in names:
            self.running[name] = time.time()
            if self._live is None:
                number = min(sum(self.counts.values()) + len(self.running), self.total)
                self.on_message(f"[{number}/{self.total}] {name}: begun")
        self._write()

    def on_end(self, name: str, state: JobState, details: str, seconds: float | None, left: float | None) -> None:
        """Note how a job ended, and how long those not started yet will take, one after the other."""
        self.running.pop(name, None)
        self.counts[state] += 1
        words = ", ".join(filter(None, [state, details]))
        if state.is_failure:
            self.failed[name] = words
        self.seconds_left = None if left is None else left / self.side_by_side
        done = sum(self.counts.values())
        took = "" if seconds is None else f", {seconds:.0f} s"
        to_go = self.total - done
        ahead = f"; {to_go} to go, {duration(self.seconds_left)}" if seconds and to_go and self.seconds_left else ""
        self.on_message(f"[{done}/{self.total}] {name}: {words}{took}{ahead}")
        self._write()

    def summary(self) -> None:
        """Show how many jobs ended in each state, those first that need no more work, and what to do with results."""
        counts = ", ".join(f"{self.counts[state]} {state}" for state in JobState if self.counts[state])
        self.on_message(f"{self.total} jobs: {counts}")
        if self.counts[JobState.STALE]:
            self.on_message("stale runs are kept as they are; --rerun-stale trains them again")
        if any(self.counts[state] for state in (JobState.OK, JobState.STORED, JobState.STALE)):
            results = shlex.quote(paths.relative_to_home(self.results))
            self.on_message(
                f"next: {called(Path.cwd())} compare{'' if results == 'results' else f' --results {results}'}"
            )

    def on_message(self, line: str) -> None:
        """Show a line, and keep it in the log."""
        with self._lock:
            if self._live:
                self._live.console.print(Text(line))
            else:
                print(line, flush=True)
            with contextlib.suppress(OSError), open(self._log, "a", encoding="utf-8") as log:
                log.write(f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")

    def on_result(self, record: Record) -> None:
        """Take a run into account for the best one so far."""
        value = record.metrics.get(CRITERION)
        if value is not None and not record.untrained_backbone and (self.best is None or value > self.best[1]):
            self.best = (record.run_id, value)

    def _content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self._started,
            "total": self.total,
            "counts": dict(self.counts),
            "running": [{"name": name, "since": since} for name, since in self.running.items()],
            "failed": self.failed,
            "best": self.best,
            "seconds_left": self.seconds_left,
        }

    def _write(self, ended: bool = False) -> None:
        if not ended and time.monotonic() - self._written < _WRITE_INTERVAL:  # the heartbeat will do it
            return
        self._written = time.monotonic()
        with self._lock, contextlib.suppress(OSError):  # a full disk stops the runs, not the report about them
            write_json(self._state, self._content() | {"ended": ended})

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self._write()

    def _screen(self) -> Group:
        return screen(self._content() | {"alive": True}, self.store)


def states(results: Path) -> list[dict[str, Any]]:
    """Return the states of the sweeps on a results folder, the newest last; ``alive`` says whether one is running."""
    found = []
    for file in (results / "sweeps").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):  # removed or written again meanwhile
            state = json.loads(file.read_text(encoding="utf-8"))
            here = state["host"] == socket.gethostname()
            beating = time.time() - file.stat().st_mtime < GONE
            alive = not state["ended"] and (psutil.pid_exists(state["pid"]) and beating if here else beating)
            found.append(state | {"alive": alive, "file": file})
    return sorted(found, key=lambda state: state["started"])


def screen(state: dict[str, Any], store: RunStore) -> Group:
    """Return what is shown of a sweep."""
    done, total = sum(state["counts"].values()), state["total"]
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in state["counts"].items())
    left = state["seconds_left"]
    ahead = f"; not started yet: {duration(left)}" if left and done < total else ""
    gone = "" if state["alive"] or state.get("ended") else " — the sweep was killed, start it again to continue"
    parts: list[Any] = [Text(f"{state['name']}: {done} of {total} jobs{': ' if counts else ''}{counts}{ahead}{gone}")]
    if state["running"] and state["alive"]:
        table = Table("running", "for", "stage", "on", box=None, pad_edge=False)
        for job in state["running"]:
            stage = store.stage(job["name"])
            where = " ".join(filter(None, [stage.get("host"), f"GPU {stage['gpu']}" if stage.get("gpu") else ""]))
            table.add_row(job["name"], duration(time.time() - job["since"]), stage.get("stage", "kernel"), where)
        parts.append(table)
    parts += [Text(f"  {name}: {text}") for name, text in state["failed"].items()]
    if state["best"]:
        parts.append(Text(f"best so far: {state['best'][0]}, {CRITERION} {state['best'][1]:.3f}"))
    return Group(*parts)


def print_status(results: Path) -> None:
    """Print the progress of the sweeps on a results folder.

    Raises
    ------
    InputError
        If no sweep has been run on it.
    """
    found = states(results)
    if not found:
        raise InputError(f"no sweep has been run on {results}; --results names another folder")
    console = Console(highlight=False)
    for state in found:
        console.print(screen(state, RunStore(results)))


def sweep_name(path: Path) -> str:
    """Return the name of a sweep as its files carry it."""
    return re.sub(r"[^\w-]+", "-", path.stem)

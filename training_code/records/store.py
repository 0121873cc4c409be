"""The runs in a results folder: found, locked, published whole."""

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

from training_code.foundation.errors import InputError
from training_code.foundation.files import write_json
from training_code.records.record import (
    CHECKPOINT,
    EXAMPLES,
    NOTEBOOK,
    RECORD,
    SCORES,
    TENSORBOARD,
    Record,
    read_record,
    read_records,
    write_record,
)

#: Seconds without a heartbeat after which the lock of a run is taken over from another machine. On the same machine the
#: lock of a process that is gone is taken over at once.
LEASE = 60.0


class RunStore:
    """The runs in a results folder, safe for several processes at once.

    Parameters
    ----------
    results
        The folder; it need not exist.
    """

    def __init__(self, results: Path) -> None:
        self.results = results

    def folder(self, run_id: str) -> Path:
        """Return the folder of a run, which need not exist."""
        return self.results / "runs" / run_id

    def find(self, run_id: str) -> Path:
        """Return the folder with the record of a run, which need not exist.

        A run that was stored when runs were named otherwise lies under its former name.
        """
        own = self.folder(run_id)
        return own if (own / RECORD).exists() else self._renamed().get(run_id, own)

    def _renamed(self) -> dict[str, Path]:
        """Return the folders of runs that have another name today, by that name."""
        runs, _ = read_records(self.results)
        runs.sort(key=lambda run: run[1].status == "ok")  # of several the last one stays
        return {name: folder for folder, record in runs if (name := record.identity.run_id) != folder.name}

    def unfinished(self, run_id: str) -> Path:
        """Return the folder in which training in epochs keeps what it goes on with after a kill; it need not exist."""
        return self.results / "unfinished" / run_id

    def forget_unfinished(self, run_id: str) -> None:
        """Have the next training of a run begin anew."""
        shutil.rmtree(self.unfinished(run_id), ignore_errors=True)

    def record(self, run_id: str) -> Record | None:
        """Return the record of a run, however it ended; None where there is none or it is damaged."""
        try:
            return read_record(self.find(run_id))
        except ValueError:
            return None

    def stored(self, run_id: str) -> Record | None:
        """Return the record of a run that ended well; None where there is none."""
        record = self.record(run_id)
        return record if record and record.status == "ok" else None

    @contextlib.contextmanager
    def locked(self, run_id: str) -> Iterator[None]:
        """Hold the lock of a run, so that two processes never train the same one at once.

        The lock of a process that was killed is taken over, see `LEASE`.
        """
        lock = self._lock(run_id)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{run_id} is being trained by another process; waiting for its result")
            lock.acquire()
        try:
            yield
        finally:
            self._stage_path(run_id).unlink(missing_ok=True)
            lock.release()

    def is_locked(self, run_id: str) -> bool:
        """Return whether another process is at a run."""
        lock = self._lock(run_id)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def note_stage(self, run_id: str, stage: str) -> None:
        """Tell other processes how far a run has got; the lock of the run must be held."""
        content = {
            "stage": stage,
            "host": socket.gethostname(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }
        with contextlib.suppress(OSError):  # nothing depends on it
            write_json(self._stage_path(run_id), content)

    def stage(self, run_id: str) -> dict[str, Any]:
        """Return what `note_stage` told last; empty where nobody is at the run."""
        try:
            return json.loads(self._stage_path(run_id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    @contextlib.contextmanager
    def staging(self, run_id: str) -> Iterator[Path]:
        """Give a folder for the files of a run until they are published; the lock of the run must be held."""
        runs = self.folder(run_id).parent
        runs.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers(run_id)
        staging = Path(tempfile.mkdtemp(prefix=f".{run_id}.", dir=runs))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def publish(self, staging: Path, record: Record) -> Path:
        """Move the files of a run to its folder, the record last: until then an older one stands."""
        write_record(staging, record)
        self.take_over(staging, record.run_id)
        self.forget_unfinished(record.run_id)
        return self.folder(record.run_id)

    def take_over(self, staging: Path, run_id: str) -> None:
        """Move the files of a run, of this machine or another one, to its folder, the record last."""
        folder = self.folder(run_id)
        folder.mkdir(exist_ok=True)
        for name in (EXAMPLES, TENSORBOARD):
            if (folder / name).exists():
                (folder / name).rename(staging / f"replaced-{name}")
        for name in (EXAMPLES, TENSORBOARD, SCORES, CHECKPOINT, NOTEBOOK, RECORD):
            if (staging / name).exists():
                (staging / name).replace(folder / name)

    def write_failure(self, record: Record) -> None:
        """Keep the record of a run that did not end well, unless there is a result: that is worth more.

        The lock of the run must be held.
        """
        self._remove_leftovers(record.run_id)
        if not self.stored(record.run_id):
            folder = self.folder(record.run_id)
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder, record)

    def write_failure_unless_locked(self, record: Record) -> None:
        """Do `write_failure`, unless another process is at the run."""
        with contextlib.suppress(Timeout), self._lock(record.run_id).acquire(timeout=0):
            self.write_failure(record)

    def _remove_leftovers(self, run_id: str) -> None:
        """Remove what a process left that was killed."""
        for leftover in self.folder(run_id).parent.glob(f".{run_id}.*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _stage_path(self, run_id: str) -> Path:
        return self.results / "locks" / f"{run_id}.stage.json"

    def _lock(self, run_id: str) -> SoftFileLease:
        locks = self.results / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the results folder {self.results} cannot be written to: {error.strerror}") from error
        return SoftFileLease(locks / f"{run_id}.lease", lease_duration=LEASE)

"""The runs in a results folder: found, locked, published whole."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from training_code.errors import InputError
from training_code.records.record import (
    CHECKPOINT,
    EXAMPLES,
    RECORD,
    SCORES,
    TENSORBOARD,
    Record,
    read_record,
    write_record,
)


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

    def unfinished(self, run_id: str) -> Path:
        """Return the folder in which training in epochs keeps what it goes on with after a kill; it need not exist."""
        return self.results / "unfinished" / run_id

    def forget_unfinished(self, run_id: str) -> None:
        """Have the next training of a run begin anew."""
        shutil.rmtree(self.unfinished(run_id), ignore_errors=True)

    def record(self, run_id: str) -> Record | None:
        """Return the record of a run, however it ended; None where there is none or it is damaged."""
        try:
            return read_record(self.folder(run_id))
        except ValueError:
            return None

    def stored(self, run_id: str) -> Record | None:
        """Return the record of a run that ended well; None where there is none."""
        record = self.record(run_id)
        return record if record and record.status == "ok" else None

    @contextlib.contextmanager
    def locked(self, run_id: str) -> Iterator[None]:
        """Hold the lock of a run, so that two processes never train the same one at once; a kill releases it."""
        lock = self._lock(run_id)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{run_id} is being trained by another process; waiting for its result")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def staging(self, run_id: str) -> Iterator[Path]:
        """Give a folder for the files of a run until they are published; the lock of the run must be held."""
        runs = self.folder(run_id).parent
        runs.mkdir(parents=True, exist_ok=True)
        for leftover in runs.glob(f".{run_id}.*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{run_id}.", dir=runs))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def publish(self, staging: Path, record: Record) -> Path:
        """Move the files of a run to its folder, the record last: until then an older one stands."""
        write_record(staging, record)
        folder = self.folder(record.run_id)
        folder.mkdir(exist_ok=True)
        for name in (EXAMPLES, TENSORBOARD):
            if (folder / name).exists():
                (folder / name).rename(staging / f"replaced-{name}")
        for name in (EXAMPLES, TENSORBOARD, SCORES, CHECKPOINT, RECORD):
            if (staging / name).exists():
                (staging / name).replace(folder / name)
        self.forget_unfinished(record.run_id)
        return folder

    def write_failure(self, record: Record) -> None:
        """Keep the record of a run that did not end well, unless there is a result: that is worth more.

        The lock of the run must be held.
        """
        if not self.stored(record.run_id):
            folder = self.folder(record.run_id)
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder, record)

    def write_failure_unless_locked(self, record: Record) -> None:
        """Do `write_failure`, unless another process is at the run."""
        with contextlib.suppress(Timeout), self._lock(record.run_id).acquire(timeout=0):
            self.write_failure(record)

    def _lock(self, run_id: str) -> FileLock:
        locks = self.results / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the results folder {self.results} cannot be written to: {error.strerror}") from error
        return FileLock(locks / f"{run_id}.lock")

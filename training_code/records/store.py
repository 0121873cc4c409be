"""The runs in a results folder: found, locked, published atomically."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training_code.foundation.files import stamp, write_json
from training_code.records.leases import Leases
from training_code.records.linking import copy, copy_all
from training_code.records.reading import REPLACED, read_record, read_records, restore_replaced, write_record
from training_code.records.record import (
    APPEARANCE,
    CALIBRATION,
    CHECKPOINT,
    EXAMPLES,
    KERNEL_LOG,
    LABELLED_SCORES,
    NOTEBOOK,
    RECORD,
    SCORES,
    TENSORBOARD,
    Record,
)
from training_code.records.scores import write_predictions
from training_code.records.taught import TAUGHT

# What a run writes into its folder; all other files there are the user's and stay.
_OF_A_RUN = {
    *(RECORD, CHECKPOINT, SCORES, CALIBRATION, APPEARANCE, LABELLED_SCORES, EXAMPLES, TENSORBOARD),
    *(NOTEBOOK, KERNEL_LOG, TAUGHT),
}
# Seconds after which a temporary file counts as left behind: writing one takes a moment.
_ABANDONED = 3600.0


class RunStore:
    """The runs in a results folder, safe for several processes at once, on several machines.

    Parameters
    ----------
    results
        The folder; it need not exist.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self._leases = Leases(results / "locks")
        self._names_of: tuple[list[int] | None, dict[str, Path]] | None = None  # the stamp of ``runs``, and `_renamed`

    def folder(self, run_id: str) -> Path:
        """Return the folder of a run, which need not exist."""
        return self.results / "runs" / run_id

    def find(self, run_id: str) -> Path:
        """Return the folder with the record of a run, which need not exist.

        A run that was stored under an earlier scheme of names lies under its former name.
        """
        own = self.folder(run_id)
        return own if (own / RECORD).exists() else self._renamed().get(run_id, own)

    def _renamed(self) -> dict[str, Path]:
        """Return the folders of runs that have another name today, by that name.

        What was found holds until a folder is added or removed, which changes the stamp of the folder above.
        """
        state = stamp(self.results / "runs")
        if self._names_of is None or self._names_of[0] != state:
            runs, _ = read_records(self.results)
            runs.sort(key=lambda run: run[1].status == "ok")  # of several the last one stays
            names = {name: folder for folder, record in runs if (name := record.identity.run_id) != folder.name}
            self._names_of = state, names
        return self._names_of[1]

    def unfinished(self, run_id: str) -> Path:
        """Return the folder with the state from which training in epochs resumes after a kill; it need not exist."""
        return self.results / "unfinished" / run_id

    def forget_unfinished(self, run_id: str) -> None:
        """Remove the saved state, so that the next training of a run starts from the beginning."""
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

        The lock of a process that was killed is taken over, see `training_code.records.leases`.
        """
        with self._leases.held(run_id):
            try:
                yield
            finally:
                self._stage_path(run_id).unlink(missing_ok=True)

    def is_locked(self, run_id: str) -> bool:
        """Return whether another process works on a run."""
        if not self._leases.acquire(run_id):
            return True
        self._leases.release(run_id)
        return False

    def holder(self, run_id: str) -> str:
        """Return a description of the process that works on a run."""
        return self._leases.holder(run_id)

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
        """Return what `note_stage` wrote last; empty if no process works on the run."""
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
        staging = runs / f".{run_id}.{secrets.token_hex(4)}"
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def publish(self, staging: Path, record: Record) -> Path:
        """Put the files of a run into their place, all at once: until then an older result stays.

        The lock of the run must be held.

        Raises
        ------
        LostLeaseError
            If another process has taken the run over meanwhile.
        """
        for entry in staging.iterdir():  # intermediate files of training
            if entry.name not in _OF_A_RUN:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        write_record(staging, record)
        self.put(staging, record.run_id)
        self.forget_unfinished(record.run_id)
        return self.folder(record.run_id)

    def put(self, staging: Path, run_id: str) -> None:
        """Make ``staging`` the folder of a run; files that users have put into the older one are kept.

        A kill between the two renames leaves no folder; the next reader restores the older one.
        """
        folder = self.folder(run_id)
        replaced = folder.with_name(f".{run_id}.{REPLACED}")
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name not in _OF_A_RUN and not (staging / entry.name).exists():
                copy(entry, staging / entry.name)
        self._leases.check(run_id)
        shutil.rmtree(replaced, ignore_errors=True)
        while True:
            with contextlib.suppress(FileNotFoundError):
                folder.rename(replaced)
            try:
                staging.rename(folder)
                break
            except OSError as error:
                restore_replaced(folder.parent)  # by this process, or by a reader just now
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        shutil.rmtree(replaced, ignore_errors=True)

    def put_thresholds(self, record: Record, taught: Record | None = None) -> Path:
        """Replace the record of a stored run by one with other thresholds, and its predictions with it, all at once.

        The same is done for that of the taught detector, where there is one. All other files stay; where the file
        system allows it they are linked, not copied. The lock of the run must be held.

        Raises
        ------
        OSError, ValueError
            If the scores are not there or damaged.
        LostLeaseError
            If another process has taken the run over meanwhile.
        """
        folder = self.folder(record.run_id)
        with self.staging(record.run_id) as staging:
            write_predictions(folder, staging, record.thresholds.get("image"))
            copy_all(folder, staging, (RECORD, SCORES))
            if taught is not None:
                write_predictions(folder / TAUGHT, staging / TAUGHT, taught.thresholds.get("image"))
                write_record(staging / TAUGHT, taught)
            write_record(staging, record)
            self.put(staging, record.run_id)
        return folder

    @contextlib.contextmanager
    def teaching(self, run_id: str) -> Iterator[Path]:
        """Give an empty folder, which takes the place of that of the taught detector when the block ends well.

        All other files of the run stay as they are. The lock of the run must be held.

        Raises
        ------
        LostLeaseError
            If another process has taken the run over meanwhile.
        """
        with self.staging(run_id) as staging:
            (staging / TAUGHT).mkdir()
            yield staging / TAUGHT
            copy_all(self.folder(run_id), staging, (TAUGHT,))
            self.put(staging, run_id)

    def forget_taught(self, run_id: str) -> None:
        """Remove the taught detector of a run, all at once; the lock of the run must be held.

        Raises
        ------
        LostLeaseError
            If another process has taken the run over meanwhile.
        """
        with self.staging(run_id) as staging:
            copy_all(self.folder(run_id), staging, (TAUGHT,))
            self.put(staging, run_id)

    def write_failure(self, record: Record) -> None:
        """Keep the record of a run that did not end well, unless there is a result, which is kept instead.

        The lock of the run must be held.
        """
        self._leases.check(record.run_id)
        self._remove_leftovers(record.run_id)
        if not self.stored(record.run_id):
            folder = self.folder(record.run_id)
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder, record)

    def write_failure_unless_locked(self, record: Record) -> None:
        """Do `write_failure`, unless another process works on the run."""
        if self._leases.acquire(record.run_id):
            try:
                self.write_failure(record)
            finally:
                self._leases.release(record.run_id)

    def sweep_up(self) -> None:
        """Remove what killed processes left here, except for runs that a process works on."""
        restore_replaced(self.results / "runs")
        named = {leftover.name[1:].rpartition(".")[0] for leftover in (self.results / "runs").glob(".*.*")}
        named |= {path.name.removesuffix(_STAGE) for path in (self.results / "locks").glob(f"*{_STAGE}")}
        for run_id in filter(None, named):
            if self._leases.acquire(run_id):
                try:
                    self._remove_leftovers(run_id)
                    self._stage_path(run_id).unlink(missing_ok=True)
                finally:
                    self._leases.release(run_id)
        for temporary in self.results.rglob(".*.tmp*"):
            with contextlib.suppress(OSError):
                if time.time() - temporary.stat().st_mtime > _ABANDONED:
                    temporary.unlink()

    def _remove_leftovers(self, run_id: str) -> None:
        """Remove what a killed process left; the lock of the run must be held."""
        runs = self.folder(run_id).parent
        restore_replaced(runs)
        for leftover in runs.glob(f".{run_id}.*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _stage_path(self, run_id: str) -> Path:
        return self.results / "locks" / f"{run_id}{_STAGE}"


_STAGE = ".stage.json"

"""Leases on runs, across machines: a lease is taken over when its holder gives no sign of life."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from training_code.foundation.errors import InputError

#: Seconds without a heartbeat after which a lease is taken over from a process on another machine. From a process of
#: the same machine it is taken over as soon as that process is gone.
LEASE = 60.0
# Seconds between two checks of another process's lease, and between two messages about it.
_POLL, _REPORT = 1.0, 60.0


class LostLeaseError(RuntimeError):
    """Another process has taken over the run of this one, which gave no sign of life for too long."""


class Leases:
    """Leases by name, as files in a folder.

    The silence of a holder is counted from the first request for its lease on this object: keep the object.

    Parameters
    ----------
    folder
        Where their files lie; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._leases: dict[tuple[str, int], SoftFileLease] = {}
        self._damaged: dict[str, tuple[tuple[int, int, int], float]] = {}  # how a file looked, and since when

    def acquire(self, name: str) -> bool:
        """Take a lease; return whether it was free.

        Raises
        ------
        InputError
            If the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the folder {self.folder} cannot be written to: {error.strerror}") from error
        try:
            self._lease(name).acquire(timeout=0)
        except LeaseSettingsMismatch:  # of a version with another `LEASE`: only that version knows when it ends
            return False
        except Timeout:
            self._remove_damaged(name)
            return False
        return True

    def release(self, name: str) -> None:
        """Give a lease back."""
        self._lease(name).release()

    def check(self, name: str) -> None:
        """Raise a `LostLeaseError` unless this process still has a lease that it took."""
        lease = self._lease(name)
        owner = lease.owner
        if not lease.is_locked or owner is None or owner.token != lease.token:
            raise LostLeaseError(f"{name} was taken over by another process while this one gave no sign of life")

    def holder(self, name: str) -> str:
        """Return a description of a lease's holder."""
        owner = self._lease(name).owner
        if owner is None:
            return "a process that left a damaged lock"
        return f"process {owner.pid} on {owner.hostname}"

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a lease after waiting for its holder; print for whom it waits, and each minute for how long."""
        began = told = time.monotonic()
        if not self.acquire(name):
            until = f"waiting for it, or until it has given no sign of life for {LEASE:g} s"
            print(f"{name} is being made by {self.holder(name)}; {until}")
            while not self.acquire(name):
                time.sleep(_POLL)
                if time.monotonic() - told >= _REPORT:
                    told = time.monotonic()
                    print(f"{name}: waiting for {self.holder(name)} for {told - began:.0f} s")
        try:
            yield
        finally:
            self.release(name)

    def _lease(self, name: str) -> SoftFileLease:
        key = name, os.getpid()  # after a fork both processes have leases of their own
        if key not in self._leases:
            self._leases[key] = SoftFileLease(self._path(name), lease_duration=LEASE)
        return self._leases[key]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.lease"

    def _remove_damaged(self, name: str) -> None:
        """Remove the file of a lease that names nobody, once it has stayed as it is for `LEASE` seconds.

        A kill or a loss of power between making and writing it leaves it empty. Whoever may still be there finds in
        `check` that the lease is lost.
        """
        if self._lease(name).owner is not None:
            self._damaged.pop(name, None)
            return
        with suppress(OSError):
            status = os.stat(self._path(name))
            looks, now = (status.st_ino, status.st_mtime_ns, status.st_size), time.monotonic()
            known, since = self._damaged.setdefault(name, (looks, now))
            if known != looks:
                self._damaged[name] = looks, now
            elif now - since >= LEASE:
                del self._damaged[name]
                self._path(name).unlink()

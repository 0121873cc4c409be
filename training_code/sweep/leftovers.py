"""Files of processes that were killed while they executed notebooks."""

import contextlib
import os
import socket
from pathlib import Path

from training_code.notebooks.processes import is_alive
from training_code.records.store import RunStore

# Folder of the notebooks that are being executed.
_EXECUTING = "executing"


def executing_path(store: RunStore, run_id: str) -> Path:
    """Return where this process executes a notebook that begins with a run: its name says run, machine and process."""
    return store.results / _EXECUTING / f"{run_id}.{socket.gethostname()}.{os.getpid()}.ipynb"


def find_leftovers(store: RunStore) -> list[Path]:
    """Return the notebooks and logs of processes of this machine that are gone."""
    found = []
    for file in (store.results / _EXECUTING).glob(f"*.{socket.gethostname()}.*.*"):
        pid = file.suffixes[-2].removeprefix(".")
        with contextlib.suppress(OSError):  # another process is removing it
            if pid.isdigit() and not is_alive(int(pid), file.stat().st_mtime):
                found.append(file)
    return found

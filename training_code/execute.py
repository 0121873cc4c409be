"""Executing a notebook through papermill, as sweeps and the comparison do."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from nbformat import NotebookNode
from traitlets.config import Config

from training_code import paths


def execute_notebook(
    notebook: Path | NotebookNode, output: Path, parameters: Mapping[str, Any], timeout: int | None = None
) -> None:
    """Execute a notebook in a kernel of its own, in the folder of the notebooks.

    Parameters
    ----------
    notebook
        The notebook or its path.
    output
        Where the executed notebook is written, also while it is running.
    parameters
        Values for its parameters cell.
    timeout
        Seconds after which a cell is given up.

    Raises
    ------
    papermill.exceptions.PapermillExecutionError
        If a cell raises an error.
    nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError
        If a cell takes too long, or the kernel dies.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
        # Sockets in a folder of our own, not network ports, which everybody on the machine could reach.
        kernel = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/socket"}})
        papermill.execute_notebook(
            notebook,
            output,
            parameters=dict(parameters),
            kernel_name="python3",
            cwd=paths.NOTEBOOKS,
            progress_bar=False,
            execution_timeout=timeout,
            config=kernel,
        )

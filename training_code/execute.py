"""Executing a notebook through papermill, as sweeps and the comparison do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from nbformat import NotebookNode
from traitlets.config import Config

from training_code import paths

# Files instead of network ports: nobody else on the machine can reach the kernel.
_KERNEL = Config({"KernelManager": {"transport": "ipc"}})


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
    papermill.execute_notebook(
        notebook,
        output,
        parameters=dict(parameters),
        kernel_name="python3",
        cwd=paths.NOTEBOOKS,
        progress_bar=False,
        execution_timeout=timeout,
        config=_KERNEL,
    )

"""The Python of a notebook's cell, also where people use what only IPython understands."""

import ast
from pathlib import Path

from training_code.foundation.errors import InputError

# Cell magics whose cell is Python that runs in the kernel; the cells of all others are in another language.
_PYTHON_MAGICS = ("capture", "debug", "prun", "time", "timeit")


def parse_cell(source: str, path: Path, index: int) -> ast.Module:
    """Return the Python of a cell; magics, shell commands and help are calls in it, as IPython makes them.

    A cell in another language, as ``%%bash`` begins it, holds none.

    Parameters
    ----------
    path, index
        The notebook and the number of the cell in it, from 0, for the message of an error.

    Raises
    ------
    InputError
        If it is not valid Python.
    """
    code = _without_cell_magic(source)
    try:
        try:
            return ast.parse(code)
        except SyntaxError:
            from IPython.core.inputtransformer2 import TransformerManager  # here, since few notebooks need it

            return ast.parse(TransformerManager().transform_cell(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"{path.name}: cell {index + 1} is not valid Python: {problem}") from error


def _without_cell_magic(source: str) -> str:
    """Return the part of a cell that is Python and runs in the kernel."""
    while (stripped := source.lstrip()).startswith("%%"):
        magic, _, source = stripped.partition("\n")
        if magic.split()[0].removeprefix("%%") not in _PYTHON_MAGICS:
            return ""
    return source

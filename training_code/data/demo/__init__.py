"""Embedded example datasets, made from what the installed packages carry: nothing is downloaded."""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path


def _make_textures(root: Path) -> None:
    from training_code.data.demo.textures import write_textures  # imports take a second

    write_textures(root)


def _make_boards(root: Path) -> None:
    from training_code.data.demo.boards import write_boards  # as above

    write_boards(root)


def _make(write: Callable[[Path], None], folder: Path) -> Path:
    """Make a dataset in ``folder`` unless it is there; return ``folder``, which appears at once and complete."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write(temporary)
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process made it in the meantime
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


#: Name of each embedded dataset and the function that makes it in a folder, unless it is there.
EMBEDDED: dict[str, Callable[[Path], Path]] = {
    "textures": partial(_make, _make_textures),
    "pcb": partial(_make, _make_boards),
}

__all__ = ["EMBEDDED"]

"""Bringing datasets as they are published into the layout that this project reads."""

from collections.abc import Callable
from pathlib import Path

from training_code.data.adapters.magnetic_tile import prepare_magnetic_tile

#: Name of each adapter and the function that copies a dataset from a folder to another in MVTec layout.
ADAPTERS: dict[str, Callable[[Path, Path], None]] = {"magnetic_tile": prepare_magnetic_tile}

__all__ = ["ADAPTERS"]

"""Embedded example datasets, made from what the installed packages carry: nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path

from training_code.data.demo.textures import make_textures

#: Name of each embedded dataset and the function that makes it in a folder, unless it is there.
EMBEDDED: dict[str, Callable[[Path], Path]] = {"textures": make_textures}

__all__ = ["EMBEDDED"]

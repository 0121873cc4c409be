"""Weight files that are no backbone's: networks that detectors need beside it, as their authors published them."""

from dataclasses import dataclass
from pathlib import Path

from training_code.backbones.files import SUFFIXES, find_file
from training_code.foundation import paths
from training_code.foundation.errors import MissingWeightsError, choices


@dataclass(frozen=True)
class WeightFile:
    """A file in ``weights/``, of tensors alone.

    Attributes
    ----------
    name
        Of the file, without its suffix.
    holds
        What is in it, in a few words that begin with an article.
    source
        The address that it is published at, or how it is got.
    license
        Of the file, as its authors state it.
    """

    name: str
    holds: str
    source: str
    license: str


def find_published(file: WeightFile, folder: Path | None = None) -> Path:
    """Return where the file lies.

    Raises
    ------
    MissingWeightsError
        If it is not there; the message names it and where it comes from.
    """
    folder = folder or paths.WEIGHTS
    path = find_file(file.name, folder)
    if path is None:
        raise MissingWeightsError(
            f"there is no {paths.relative_to_home(folder / file.name)}.safetensors (or {choices(SUFFIXES[1:])}), "
            f"{file.holds}; it comes from {file.source}, license {file.license}"
        )
    return path

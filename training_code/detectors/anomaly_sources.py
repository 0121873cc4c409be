"""The images that DRAEM and GLASS make anomalies of."""

from pathlib import Path
from typing import Any

from skimage.data import data_dir

from training_code.data.walk import find_images
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices
from training_code.foundation.files import content_hash, digest

#: The photographs of scikit-image that anomalies are made of if no folder is given.
TEXTURES = ("brick", "grass", "gravel")
# What torchvision, by which anomalib reads them, can read.
_READ = (".png", ".jpg", ".jpeg", ".webp")


def anomaly_sources(folder: str | None) -> list[Path]:
    """Return the images that anomalies are made of, sorted.

    Raises
    ------
    InputError
        If the folder is not there or holds no images.
    """
    if folder is None:
        return [Path(data_dir, f"{name}.png") for name in TEXTURES]
    path = paths.from_home(folder)
    found = [image for image in find_images(path) if image.suffix.lower() in _READ] if path.is_dir() else []
    if not found:
        raise InputError(
            f"anomaly_source_path={folder!r} is no folder with images that are read; valid: one with files "
            f"{choices(_READ)}, or None"
        )
    return found


def files_of_sources(arguments: dict[str, Any]) -> dict[str, str]:
    """Return the hash of the images that anomalies are made of, by the argument that names their folder."""
    hashes = [content_hash(path) for path in anomaly_sources(arguments["anomaly_source_path"])]
    return {"anomaly_source_path": digest(hashes)}

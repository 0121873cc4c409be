"""The specification of DRAEM, and the images that its anomalies are made of."""

from pathlib import Path
from typing import Any

from skimage.data import data_dir

from training_code.data.walk import find_images
from training_code.detectors.arguments import AT_LEAST_0, POSITIVE, Argument, check_image_size
from training_code.detectors.spec import DetectorSpec, Epochs, PlainForm
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


def check_draem(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` if the networks cannot take images of ``image_size``, or the anomalies have no source."""
    check_image_size("Draem", image_size)
    anomaly_sources(arguments["anomaly_source_path"])


def files_of_draem(arguments: dict[str, Any]) -> dict[str, str]:
    """Return the hash of the images that anomalies are made of."""
    hashes = [content_hash(path) for path in anomaly_sources(arguments["anomaly_source_path"])]
    return {"anomaly_source_path": digest(hashes)}


def _is_blend(value: float | list[float]) -> bool:
    values = value if isinstance(value, list) else [value, value]
    return len(values) == 2 and 0 <= values[0] <= values[1] <= 1


SPEC = DetectorSpec(
    name="Draem",
    path="training_code.detectors.draem.model:Draem",
    notebook="14_train_draem",
    arguments={
        "anomaly_source_path": Argument(str | None, None),
        "enable_sspcab": Argument(bool, False),
        "sspcab_lambda": Argument(float, 0.1, AT_LEAST_0),
        "beta": Argument(
            float | list[float], [0.1, 1.0], (_is_blend, "a number from 0 to 1, or two of them, the smaller first")
        ),
        "lr": Argument(float, 0.0001, POSITIVE),
        "width": Argument(float, 1.0, POSITIVE),
    },
    epochs=Epochs(max_epochs=700, batch_size=8),
    normalizes=False,
    told_by=("width", "max_epochs"),
    paper={"max_epochs": 700, "width": 1.0},
    plain=PlainForm({"width": 1.0}, folders=("dtd_dir",)),
    check=check_draem,
    files=files_of_draem,
)

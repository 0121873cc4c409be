"""Exported files: the names in their graphs, and the description that lies beside each of them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydantic_core
from numpy.typing import NDArray

from inference_code.images import check_reading
from inference_code.runtimes import FLOAT32, INT8
from training_code.foundation.errors import InputError, choices
from training_code.foundation.files import sha256
from training_code.records.exports import EXPORTS
from training_code.records.reading import parse_record, read_record
from training_code.records.record import RECORD, Record

#: Of `description_path`; changes when an old description can no longer be read.
SCHEMA_VERSION = 1

#: Name of the input: float32 from 0 to 1, RGB, of shape (images, 3, height, width); uint8 is divided by 255 before. Of
#: any size where the run stretches photographs to what networks see; otherwise it is that, or a tile of it, and the
#: description says how to come by it.
INPUT = "images"
#: Name of the second input of files that have one: the number of the tile that the images are, int64 of shape (1,).
TILE = "tile"
#: Names of the outputs: raw, of shape (images,) and (images, 1, height, width) of the run's image size.
OUTPUTS = ("score", "anomaly_map")
#: Names of the further outputs where the run has a threshold: bool, and float32 from 0 to 1, of shape (images,).
JUDGED = ("label", "normalised_score")

#: A graph, opened: images of shape (batch, 3, height, width), float32 from 0 to 1, to outputs by their names.
Graph = Callable[[NDArray[np.float32]], dict[str, NDArray]]
#: The same of one file with all of its inputs by their names.
RawGraph = Callable[[dict[str, NDArray]], dict[str, NDArray]]


def description_path(path: Path) -> Path:
    """Return the file that describes an exported file; it lies beside it and is written last."""
    return path.with_name(f"{path.name}.json")


def read_description(path: Path) -> dict[str, Any]:
    """Return what is written beside the exported file ``path``.

    Raises
    ------
    InputError
        If there is nothing, or it is damaged or of another version.
    """
    beside = description_path(path)
    try:
        content = pydantic_core.from_json(beside.read_bytes(), allow_inf_nan=False)  # as it is written
    except FileNotFoundError as error:
        raise InputError(f"{beside} is missing: the export was not finished, or its files were moved apart") from error
    except ValueError as error:
        raise InputError(f"{beside} is damaged: {error}") from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(f"{beside} has schema version {found}; valid: {SCHEMA_VERSION}; export the run again")
    try:
        record = record_in(content)
        resizes = record.geometry.plain and record.identity.protocol.tiles == 1  # then it takes any other size, too
        whole = _is_whole(content, path) and (resizes or record.geometry.size == (*content["image_size"],))
    except (KeyError, TypeError, ValueError, AttributeError):
        whole = False
    if not whole:
        raise InputError(f"{beside} is damaged: it is not as an export wrote it; export the run again")
    check_reading(tuple(content["image_size"]), record.dataset.bits, str(beside))
    return content


def _is_whole(content: dict[str, Any], path: Path) -> bool:
    """Return whether a description has everything that is read of it; what raises an error has not."""
    size, limits, files = content["image_size"], content["thresholds"], content["files"]
    return (
        len(size) == 2
        and all(type(side) is int for side in size)
        and all(limits[name] is None or math.isfinite(limits[name]) for name in ("image", "pixel"))
        and isinstance(content["format"], str)
        and content.get("precision", FLOAT32) in (FLOAT32, INT8)
        and path.name in files
        and all(Path(name).name == name and isinstance(digest, str) for name, digest in files.items())
    )


def record_in(description: dict[str, Any]) -> Record:
    """Return what the description of an exported file has of the record of its run."""
    return parse_record(json.dumps(description["record"]).encode())


def owner_of(path: Path) -> Path:
    """Return the folder of the run that an exported file lies in, or that of the file where it lies elsewhere."""
    owner = path.parent.parent
    return owner if path.parent.name == EXPORTS and (owner / RECORD).is_file() else path.parent


def check_unchanged(path: Path, description: dict[str, Any], folder: Path) -> None:
    """Raise an `InputError` if files are not those that were exported, or the run in ``folder`` was trained since."""
    for name, expected in description["files"].items():
        file = path.with_name(name)
        if not file.is_file():
            raise InputError(f"{file} is missing; the export holds {choices(description['files'])}")
        if sha256(file) != expected:
            raise InputError(
                f"{file} is not the file that was exported; trust_changed (--trust-changed) loads it nonetheless"
            )
    try:
        run = read_record(folder)
    except ValueError as error:
        raise InputError(str(error)) from error
    if run is not None and run.checkpoint != record_in(description).checkpoint:
        raise InputError(f"{path} is of an older training of its run; export the run again")

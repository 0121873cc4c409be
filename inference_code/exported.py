"""`ExportedPredictor`: an exported detector with the interface of `Predictor`, computed by ONNX Runtime or OpenVINO."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference_code.exportable import INPUT, OUTPUTS
from inference_code.images import Prepared
from inference_code.predictor import Prediction, Predictor, find_run
from training_code.evaluation.thresholds import Thresholds
from training_code.features.runtime import import_openvino
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, unknown
from training_code.foundation.files import sha256
from training_code.records.record import RECORD, Record

#: Folder of a run that its exports are written to.
EXPORTS = "exports"
#: The file of each runtime.
MODEL_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
#: Of `description_path`; changes when an old description can no longer be read.
SCHEMA_VERSION = 1

#: A graph, opened: images of shape (batch, 3, height, width), float32 from 0 to 1, to outputs by their names.
Graph = Callable[[NDArray[np.float32]], dict[str, NDArray]]


class ExportedPredictor(Predictor):
    """An exported detector, ready for new images, on the processor.

    Images are read and resized as by `Predictor`, in other threads; the graph, which would resize as well, gets them at
    the run's image size, so that images of all sizes fit into one batch.

    Parameters
    ----------
    graph
        The opened graph.
    description
        What `inference_code.export` wrote beside the file.
    folder
        The folder of the run, or that of the file where it lies elsewhere.

    Attributes
    ----------
    record
        What the file knows of the record of its run: no times, curves or environment.
    thresholds
        Raw scores from which on an image and a pixel are abnormal; those of the run unless others are set.
    """

    def __init__(self, graph: Graph, description: dict[str, Any], folder: Path) -> None:
        self.graph = graph
        self.description = description
        self.folder = folder
        self.runtime = description["format"]
        self.record = Record(**description["record"])
        self.thresholds = Thresholds(description["thresholds"]["image"], description["thresholds"]["pixel"])
        self.image_size: tuple[int, int] = tuple(description["image_size"])

    @classmethod
    def load(  # type: ignore[override]  # what is loaded is another kind of file, which takes other arguments
        cls,
        run: str | Path,
        runtime: str = "onnx",
        results: str | Path = "results",
        dataset: str | None = None,
        criterion: str | None = None,
        trust_changed: bool = False,
    ) -> "ExportedPredictor":
        """Load an exported file, by itself, by its folder, or by its run.

        Parameters
        ----------
        run
            The file, a folder that holds it, or a run as in `find_run`, which is looked for only where there is no such
            folder.
        runtime
            ``"onnx"`` or ``"openvino"``.
        results, dataset, criterion
            As in `find_run`.
        trust_changed
            Load files that are not those that were checked when they were written, or that are of an older training of
            the run.

        Raises
        ------
        InputError
            If there is no such export, it is damaged, or it was changed.
        """
        if runtime not in MODEL_FILES:
            raise unknown("runtime", runtime, MODEL_FILES)
        path = _find_export(run, runtime, paths.from_home(results), dataset, criterion)
        description = read_description(path)
        if description["format"] != runtime:
            raise InputError(f"{path} is of the format {description['format']}, not {runtime}")
        owner = path.parent.parent
        folder = owner if path.parent.name == EXPORTS and (owner / RECORD).is_file() else path.parent
        if not trust_changed:
            _check_unchanged(path, description, folder)
        try:
            graph = open_graph(path, runtime)
        except Exception as error:  # the runtimes raise what they like on damaged files
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{path} cannot be opened: {reason}") from error
        return cls(graph, description, folder)

    def infer(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch; ``index`` is the place in it, ``path`` is None."""
        if not images:
            return []
        start = time.perf_counter()
        found = self.graph(torch.stack([image.tensor for image in images]).numpy())
        seconds = (time.perf_counter() - start) / len(images)
        scores, maps = (found[name] for name in OUTPUTS)
        return [
            Prediction(index, None, float(score), anomaly_map, image.size, seconds, self.thresholds)
            for index, (image, score, anomaly_map) in enumerate(zip(images, scores, maps[:, 0], strict=True))
        ]


def open_graph(path: Path, runtime: str) -> Graph:
    """Open an exported file with ``"onnx"`` or ``"openvino"``, in float32 and with torch's number of threads."""
    if runtime == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(
        str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    )

    def run(images: NDArray[np.float32]) -> dict[str, NDArray]:
        return {output.any_name: value for output, value in compiled({INPUT: images}).items()}

    return run


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
        content = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{beside} is missing: the export was not finished, or its files were moved apart") from error
    except ValueError as error:
        raise InputError(f"{beside} is damaged: {error}") from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(f"{beside} has schema version {found}; valid: {SCHEMA_VERSION}; export the run again")
    try:
        Record(**content["record"])
        size, limits = content["image_size"], content["thresholds"]
        whole = len(size) == 2 and {"image", "pixel"} <= set(limits) and path.name in content["files"]
    except (KeyError, TypeError):
        whole = False
    if not whole or any(Path(name).name != name for name in content["files"]):
        raise InputError(f"{beside} is damaged: it is not as an export wrote it; export the run again")
    return content


def _find_export(run: str | Path, runtime: str, results: Path, dataset: str | None, criterion: str | None) -> Path:
    name, given = MODEL_FILES[runtime], paths.from_home(run)
    if given.is_file():
        return given
    places = [given / name, given / EXPORTS / name]
    found = next((place for place in places if place.is_file()), None)
    if found is not None and dataset is None and criterion is None:
        return found
    path = find_run(run, results, dataset, criterion) / EXPORTS / name
    if not path.is_file():
        raise InputError(
            f"the run {path.parents[1].name} is not exported to {runtime}; "
            f"python -m inference_code.export {path.parents[1].name} --format {runtime} does that"
        )
    return path


def _check_unchanged(path: Path, description: dict[str, Any], folder: Path) -> None:
    for name, expected in description["files"].items():
        file = path.with_name(name)
        if not file.is_file():
            raise InputError(f"{file} is missing; the export holds {choices(description['files'])}")
        if sha256(file) != expected:
            raise InputError(
                f"{file} is not the file that was exported; trust_changed (--trust-changed) loads it nonetheless"
            )
    record = folder / RECORD
    trained = description["record"].get("checkpoint", {}).get("sha256")
    if record.is_file() and json.loads(record.read_text(encoding="utf-8"))["checkpoint"].get("sha256") != trained:
        raise InputError(f"{path} is of an older training of its run; export the run again")

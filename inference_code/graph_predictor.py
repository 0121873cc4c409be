"""`GraphPredictor`: an exported detector, computed by ONNX Runtime or OpenVINO."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference_code.graph_files import (
    INPUT,
    OUTPUTS,
    TILE,
    Graph,
    RawGraph,
    check_unchanged,
    owner_of,
    read_description,
    record_in,
)
from inference_code.images import Prepared, as_batch
from inference_code.predictor import Prediction, Predictor, make_predictions
from inference_code.runtimes import FLOAT32, INT8
from training_code.data.geometry import Geometry
from training_code.detectors.tiling import Tiles, tiles_for
from training_code.evaluation.thresholds import Thresholds
from training_code.features.runtime import import_openvino
from training_code.foundation.errors import InputError, choices
from training_code.records.record import Record
from training_code.records.scores import CalibrationScores


class GraphPredictor(Predictor):
    """An exported detector, ready for new images, on the processor.

    Images are read and resized as for torch, in other threads; the graph, which may resize as well, gets them as
    networks see them, so that images of all sizes fit into one batch.

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
    """

    def __init__(self, graph: Graph, description: dict[str, Any], folder: Path) -> None:
        self.graph = graph
        self.description = description
        self.folder = folder
        self.runtime = description["format"]
        self.record = record_in(description)
        self.thresholds = Thresholds(description["thresholds"]["image"], description["thresholds"]["pixel"])
        own = self.record.geometry
        self.geometry = Geometry(tuple(description["image_size"])) if own.plain else own

    @classmethod
    def load(
        cls, path: Path, runtime: str, trust_changed: bool = False, precision: str | None = None
    ) -> "GraphPredictor":
        """Load an exported file.

        Parameters
        ----------
        path
            The file.
        runtime
            One of `MODEL_FILES`.
        trust_changed
            As in `inference_code.runtimes.LoadOptions`.
        precision
            That the file has to compute in; by default whichever it does.

        Raises
        ------
        InputError
            If it is damaged, was changed, or is of another format or precision.
        """
        description = read_description(path)
        if description["format"] != runtime:
            raise InputError(f"{path} is of the format {description['format']}, not {runtime}")
        own = description.get("precision", FLOAT32)
        if precision not in (None, own):
            raise InputError(f"{path} computes in {own}, not in {precision} (--precision)")
        folder = owner_of(path)
        if not trust_changed:
            check_unchanged(path, description, folder)
        try:
            graph = open_graph(path, runtime, tiles_of_run(record_in(description)))
        except Exception as error:  # the runtimes raise what they like on damaged files
            raise InputError(f"{path} cannot be opened: {_reason(error)}") from error
        predictor = cls(graph, description, folder)
        try:  # the file may come from strangers, or be made by something else
            predictor.infer([predictor.blank])
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return predictor

    @property
    def precision(self) -> str:
        """In which numbers the network computes: ``"float32"`` or ``"int8"``."""
        return self.description.get("precision", FLOAT32)

    @property
    def scores_as_calibrated(self) -> bool:
        """Whether scores are those that the run was calibrated with, up to rounding: not those of 8-bit integers."""
        return self.precision != INT8

    def calibration(self) -> CalibrationScores:
        """Return the scores of good images that p-values go by; a file in 8-bit integers has its own."""
        if self.scores_as_calibrated:
            return super().calibration()
        try:
            found = self.description["calibration"]
            of_area, highest = (np.array(found[name], np.float32) for name in ("area_scores", "highest"))
            scores = np.array(found["scores"], np.float64)
            made = CalibrationScores(tuple(map(int, found["groups"])), scores, of_area, highest)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("the description beside the file is damaged: its calibration cannot be read") from error
        each = made.scores, made.area_scores, made.highest
        images = len(made.groups)
        if not images or any(one.shape != (images,) or not np.isfinite(one).all() for one in each):
            raise ValueError("the description beside the file is damaged: its calibration is not one score an image")
        return made

    def infer(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch; ``index`` is the place in it, ``path`` is None."""
        if not images:
            return []
        start = time.perf_counter()
        try:
            found = self.graph(np.ascontiguousarray(as_batch(images).numpy()))
        except Exception as error:  # the runtimes raise what they like about graphs of other inputs
            raise InputError(f"the detector cannot compute images: {_reason(error)}") from error
        if missing := [name for name in OUTPUTS if name not in found]:
            raise InputError(f"the detector gives {choices(found) or 'nothing'}; missing: {choices(missing)}")
        scores, maps = (found[name] for name in OUTPUTS)
        return make_predictions(images, scores, maps, time.perf_counter() - start, self.thresholds, self.geometry)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def tiles_of_run(record: Record) -> Tiles | None:
    """Return the tiles that the detector of a run gets images in, None where it gets them as a whole."""
    found = tiles_for(record.geometry.size, record.identity.protocol.tiling)
    return found if isinstance(found, Tiles) else None


def open_graph(path: Path, runtime: str, tiles: Tiles | None = None) -> Graph:
    """Open an exported file with ``"onnx"`` or ``"openvino"``, with torch's number of threads.

    What the file has in float32 is computed in that.

    The file of a detector that gets images in ``tiles`` computes one tile; they are cut and put together here.
    """
    run, inputs = _open(path, runtime)
    return (lambda images: run({INPUT: images})) if tiles is None else _in_tiles(run, tiles, TILE in inputs)


def _in_tiles(run: RawGraph, tiles: Tiles, numbered: bool) -> Graph:
    def find(part: torch.Tensor, tile: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = run({INPUT: part.numpy(), **({TILE: np.array([tile])} if numbered else {})})
        score, anomaly_map = (torch.from_numpy(found[name]) for name in OUTPUTS)
        return score, anomaly_map

    def whole(images: NDArray[np.float32]) -> dict[str, NDArray]:
        scores, maps = tiles.find(torch.from_numpy(images), find, numbered)
        return dict(zip(OUTPUTS, (scores.flatten().numpy(), maps.numpy()), strict=True))

    return whole


def _open(path: Path, runtime: str) -> tuple[RawGraph, list[str]]:
    """Return the graph in a file, and the names of its inputs."""
    if runtime == "onnx":
        # Only now: it comes with the extra export, and OpenVINO, which is always there, opens its files without it.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        given = [each.name for each in session.get_inputs()]
        return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)), given
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(
        str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    )

    def run(inputs: dict[str, NDArray]) -> dict[str, NDArray]:
        # A graph may have outputs without names, and one output several.
        return {name: value for output, value in compiled(inputs).items() for name in output.get_names()}

    return run, [name for each in compiled.inputs for name in each.get_names()]

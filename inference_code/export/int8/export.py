"""`export_int8`: the detector of a run as a file whose network computes in 8-bit integers.

Such a file is another function than the run: its scores are other ones. It gets thresholds of its own, by the rule of
the run, from what it says of good images that the detector has not seen; what it loses is measured and stated.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference_code.export.comparing import compare, expected
from inference_code.export.export import (
    check_graph,
    describe,
    exportable,
    gives_labels,
    put_in_place,
    refuse_different,
    staged,
    to_openvino,
    write_onnx,
)
from inference_code.export.formats import INT8_TOLERANCE, TOLERANCE, check_request
from inference_code.export.int8.loss import Loss, loss_on, share_of_labels_changed
from inference_code.export.int8.quantizing import WithFeatures, features_of, finish, quantize
from inference_code.export.int8.unseen import Unseen, find_unseen
from inference_code.graph_files import Graph
from inference_code.graph_predictor import GraphPredictor, open_graph, tiles_of_run
from inference_code.runs import find_run, in_use
from inference_code.runtimes import INT8, INT8_FILES
from inference_code.torch_predictor import TorchPredictor
from training_code.evaluation.measurement import median_seconds
from training_code.evaluation.operating_point import percent
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256
from training_code.records.exports import EXPORTS, MEASURED, Measured
from training_code.records.operating_points import points_anew
from training_code.records.record import Record
from training_code.records.scores import CalibrationScores
from training_code.training.recomputing import Recomputed


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes
    ----------
    format
        ``"onnx"`` or ``"openvino"``.
    images
        A folder of good photographs that the detector was not trained on, in place of those of its run.
    tolerance
        Largest part of the labels of the unseen images that may change.
    """

    format: str
    images: Path | None = None
    tolerance: float = INT8_TOLERANCE


def export_int8(
    run: str | Path, asked: Asked, output: str | Path | None = None, results: str | Path = "results"
) -> tuple[Path, Measured]:
    """Write the detector of a run with its network in 8-bit integers; return the file and what was measured of it.

    Parameters
    ----------
    run, output, results
        As in `inference_code.export.export.export_run`.

    Raises
    ------
    InputError
        If there is no such run or format, the detector cannot be written so, there are no good images that it has not
        seen, or more labels change than ``asked.tolerance``: then nothing is left behind.
    """
    versions = check_request(asked.format, asked.tolerance, INT8)  # before any computation
    folder = find_run(run, paths.from_home(results))
    if in_use(folder) != folder:
        raise InputError(
            f"{folder.name} was taught photographs, which thresholds of a file in 8-bit integers do not take into "
            f"account; valid: float32, or int8 after anomaly teach {folder.name} --undo"
        )
    own = TorchPredictor.load(folder, device="cpu")
    _check(own, asked.format)
    unseen = find_unseen(own.record, asked.images, own)
    wanted = expected(own, folder)
    with staged(Path(output) if output is not None else folder / EXPORTS) as (target, staging):
        model = WithFeatures(exportable(TorchPredictor.load(folder, device="cpu"), asked.format, _NO_LABELS))
        single, whole, full = (staging / f"{name}.onnx" for name in ("float32", "whole", "int8"))
        write_onnx(model.inner, single)
        refuse_different(own, asked.format, compare(open_graph(single, "onnx"), wanted), TOLERANCE)
        write_onnx(model, whole)
        ranges = unseen.ranges()
        quantize(whole, full, ranges, len(ranges))
        made = _thresholds(own, model, full, asked, unseen)
        finish(full, full, made.thresholds.image if gives_labels(own) else None)
        final, plain = (_in_format(path, asked.format) for path in (full, single))
        file = _named(final, staging / INT8_FILES[asked.format])
        described = _described(own, made, unseen, asked) | {"versions": versions, "files": {}}
        predictor = GraphPredictor(open_graph(file, asked.format), described, folder)
        loss = loss_on(predictor, folder, unseen.source, made.judged, made.before)
        described[MEASURED] = dataclasses.asdict(measured := _measured(asked.format, loss, file, plain, wanted.batch))
        written = [path for path in sorted(staging.iterdir()) if path.stem == file.stem]
        described["files"] = {path.name: sha256(path) for path in written}
        put_in_place(written, target, file.name, described)
    return target / file.name, measured


_NO_LABELS = Thresholds(None, None)


@dataclass(frozen=True)
class _Made:
    """What the unseen images say of a file: the record with its thresholds, and the scores that they rest on."""

    record: Record
    judged: Recomputed
    changed: float  # part of their labels that are other ones
    before: tuple[float, float]  # the run's threshold for images, and the one that it would have by these images

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(self.record.thresholds.get("image"), self.record.thresholds.get("pixel"))


def _check(predictor: TorchPredictor, format: str) -> None:
    """Raise an `InputError` if the detector of a run has no file in 8-bit integers."""
    record = predictor.record
    check_graph(record, format)
    reason = None
    if predictor.needs_references:
        reason = "it compares each image with its golden sample"
    elif tiles_of_run(record) is not None:
        reason = "it gets images in tiles"
    elif predictor.thresholds.image is None:
        reason = "it has no threshold for images, by whose labels the loss could be told"
    if reason:
        raise InputError(f"{record.run_id} cannot be exported in 8-bit integers: {reason}; valid: float32")


def _thresholds(own: TorchPredictor, model: WithFeatures, path: Path, asked: Asked, unseen: Unseen) -> _Made:
    """Return the thresholds of a quantized file; raise an `InputError` if it changes too many labels."""
    graph = _open_beside(path, asked.format)
    compute = None if model.layers is None else features_of(graph, model.layers)
    description = describe(own) | {"format": asked.format, "precision": INT8}
    judged = unseen.judged(own, GraphPredictor(graph, description, own.folder), compute)
    at, same = (
        points_anew(own.record, CalibrationScores(judged.groups, scores, judged.area_scores, judged.highest))
        for scores in (judged.scores, judged.before)
    )
    points = ("image", at.image), ("pixel", at.pixel)
    limits = {kind: None if point is None else point.threshold for kind, point in points}
    # Metrics are those of the run; what is known of the file stands in what was measured.
    record = dataclasses.replace(own.record, at=at, thresholds=limits, metrics={}, by_product={}, validation={})
    assert own.thresholds.image is not None and at.image is not None and same.image is not None
    before, after = same.image.threshold, at.image.threshold
    changed = share_of_labels_changed(judged, before, after)
    if changed > asked.tolerance:
        images = len(judged.scores) + len(judged.altered)
        raise InputError(
            f"{own.record.run_id} is not exported in 8-bit integers: {percent(changed)} of the labels of {images} "
            f"{unseen.source}{_WITH_ANOMALIES if len(judged.altered) else ''}, are other ones; valid: up to "
            f"{percent(asked.tolerance)} (--tolerance)"
        )
    return _Made(record, judged, changed, (own.thresholds.image, before))


_WITH_ANOMALIES = ", as they are and with synthetic anomalies"


def _open_beside(path: Path, format: str) -> Graph:
    """Open a file of ONNX with the runtime of a format."""
    if format == "onnx":
        return open_graph(path, format)
    between = path.with_name("with_features.xml")
    to_openvino(path, between)
    return open_graph(between, format)


def _in_format(path: Path, format: str) -> Path:
    """Return a file of ONNX as one of a format, in its place."""
    if format == "onnx":
        return path
    to_openvino(path, path.with_suffix(".xml"))
    path.unlink()
    return path.with_suffix(".xml")


def _named(path: Path, name: Path) -> Path:
    """Give a file of a graph, and that of its numbers, another name."""
    if path.suffix == ".xml":
        path.with_suffix(".bin").rename(name.with_suffix(".bin"))
    return path.rename(name)


def _described(own: TorchPredictor, made: _Made, unseen: Unseen, asked: Asked) -> dict[str, Any]:
    """Return what the file has to say about itself and its run."""
    own.record, own.thresholds = made.record, made.thresholds
    judged = made.judged
    return describe(own) | {
        "format": asked.format,
        "precision": INT8,
        "quantized_with": {"images": len(unseen.ranges()), "source": unseen.source},
        "calibration": {
            "groups": list(judged.groups),
            "scores": judged.scores.tolist(),
            "area_scores": judged.area_scores.tolist(),
            "highest": judged.highest.tolist(),
        },
        "unseen_labels_changed": made.changed,
        "tolerance": asked.tolerance,
    }


def _measured(format: str, loss: Loss, file: Path, plain: Path, batch: NDArray[np.float32]) -> Measured:
    """Return what is stated of a file beside one of float32."""
    latency, own = (median_seconds(partial(open_graph(path, format), batch[:1])) for path in (file, plain))
    size, own_size = (sum(each.stat().st_size for each in path.parent.glob(f"{path.stem}.*")) for path in (file, plain))
    return Measured(
        format=format,
        **dataclasses.asdict(loss),
        latency_s=latency,
        float32_latency_s=own,
        bytes=size,
        float32_bytes=own_size,
        threads=torch.get_num_threads(),
    )

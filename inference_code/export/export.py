"""`export_run`: the detector of a run as a file.

A file for ONNX Runtime or OpenVINO holds the whole way from pixels to labels: see `ExportableDetector`. What was
written is opened again and compared with the run before it is put in its place.
"""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from inference_code.export.anomalib_checkpoint import check_convertible, open_checkpoint, to_anomalib, write_checkpoint
from inference_code.export.comparing import Difference, compare, expected
from inference_code.export.exportable import Exportable, ExportableDetector
from inference_code.export.formats import TOLERANCE, check_request
from inference_code.graph_files import INPUT, SCHEMA_VERSION, Graph, description_path
from inference_code.graph_predictor import open_graph, tiles_of_run
from inference_code.runs import find_run
from inference_code.runtimes import MODEL_FILES
from inference_code.torch_predictor import TorchPredictor
from training_code.data.geometry import FILL, Geometry
from training_code.detectors.registry import get_detector
from training_code.evaluation.thresholds import Thresholds
from training_code.features.runtime import import_openvino
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256, write_json
from training_code.protocol import STRETCH
from training_code.records.exports import EXPORTS
from training_code.records.promises import promise
from training_code.records.record import Record
from training_code.training.engine import quiet

_CHECKPOINT = "model.ckpt"
# An ONNX file is one message of protobuf, which ends at 2 GiB; OpenVINO gets its graph by way of one.
_LARGEST = 2**31 - 2**24
_OPSET = 18
# Fields of the record that are not copied beside the file: long, and of no use there.
_LEFT_OUT = (
    *("training", "environment", "features", "intervals", "by_defect_type", "times", "memory", "rules"),
    "members",
)


def export_run(
    run: str | Path,
    format: str,
    output: str | Path | None = None,
    results: str | Path = "results",
    tolerance: float = TOLERANCE,
) -> tuple[Path, Difference]:
    """Write the detector of a run in a format, and beside it a description; return the file and how far it is off.

    Parameters
    ----------
    run, results
        As in `inference_code.runs.find_run`.
    format
        One of `FORMATS`.
    output
        Folder for the files, relative to the working folder; ``exports/`` in the folder of the run by default.
    tolerance
        Largest difference of a score from that of the run, as a part of the range of scores. Detectors with steps in
        them, such as the codes of DSR, turn the last digits of a number into larger differences.

    Raises
    ------
    InputError
        If there is no such run or format, the detector cannot be written in it, or what was written gives other labels
        than the run, or scores beyond ``tolerance``: then nothing is left behind.
    """
    versions = check_request(format, tolerance)  # before any computation
    folder = find_run(run, paths.from_home(results))
    predictor = TorchPredictor.load(folder, device="cpu")
    record = predictor.record
    if format == "anomalib":
        check_convertible(record)
    check_graph(record, format)
    wanted = expected(predictor, folder)
    with staged(Path(output) if output is not None else folder / EXPORTS) as (target, staging):
        file = staging / MODEL_FILES.get(format, _CHECKPOINT)
        _write(predictor, format, file)
        difference = compare(_open(file, format, record), wanted)
        refuse_different(predictor, format, difference, tolerance)
        written = sorted(staging.iterdir())
        description = describe(predictor) | {
            "format": format,
            "files": {path.name: sha256(path) for path in written},
            "difference": dataclasses.asdict(difference),
            "tolerance": tolerance,
            "versions": versions,
        }
        put_in_place(written, target, file.name, description)
    return target / file.name, difference


def check_graph(record: Record, format: str) -> None:
    """Raise an `InputError` with the reason if no file of a format can hold the detector of a run."""
    if format != "anomalib" and (reason := get_detector(record.identity.detector).not_exported):
        raise InputError(f"{record.run_id} cannot be exported to {format}: {reason}; valid: torch, the run itself")
    if record.members and tiles_of_run(record):
        raise InputError(
            f"{record.run_id} combines detectors that each put their tiles together, which no file of one tile can; "
            "valid: torch, which computes the run itself"
        )


@contextmanager
def staged(target: Path) -> Iterator[tuple[Path, Path]]:
    """Give a folder for exported files, and one in it whose content goes when the block ends."""
    target.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".export.", dir=target))
    try:
        yield target, staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def put_in_place(written: Sequence[Path], target: Path, name: str, description: dict[str, Any]) -> None:
    """Move the files of an export to the folder ``target``, and write the description of the one of that name."""
    # A file without its description counts as unfinished, so that a kill in between leaves nothing half new.
    description_path(target / name).unlink(missing_ok=True)
    for path in written:
        os.replace(path, target / path.name)
    write_json(description_path(target / name), description)


def describe(predictor: TorchPredictor) -> dict[str, Any]:
    """Return what an exported file has to say about its run."""
    record = predictor.record
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.run_id,
        "thresholds": dataclasses.asdict(predictor.thresholds),
        "promise": promise(record),  # for people; programs find the operating points in the record
        "image_size": predictor.image_size,
        # What comes before that; the run lengths of the region are in the record.
        "geometry": {
            "resized_to": predictor.geometry.image_size,
            "resize": predictor.geometry.resize,
            "center_crop": predictor.geometry.center_crop,
            "region": predictor.geometry.region is not None,
            "fill": FILL,
            "takes": _takes(predictor),
            "fills_and_leaves_out": _leaves_out(predictor),
        },
        # The file computes one tile, of this size: cut what is of image_size, blend the maps, take the highest score.
        "tiling": record.identity.protocol.tiling and dataclasses.asdict(record.identity.protocol.tiling),
        "bits": record.dataset.bits,
        # The file itself computes one image: whoever uses it compares the map with that of the image's reference.
        "needs_reference": predictor.needs_references,
        "record": {name: value for name, value in dataclasses.asdict(record).items() if name not in _LEFT_OUT},
    }


def refuse_different(predictor: TorchPredictor, format: str, difference: Difference, tolerance: float) -> None:
    """Raise an `InputError` if a file differs from its run by more than a tolerance."""
    if difference.score <= tolerance and not difference.labels:
        return
    precision = predictor.record.options.backbone_precision
    why = "" if precision == "float32" else f" (the run computed in {precision}, the file computes in float32)"
    raise InputError(
        f"{predictor.record.run_id} is not exported to {format}: on {difference.images} {difference.source} its scores "
        f"differ by {difference.score:.1e} of their range and {difference.labels} labels are other ones; valid: up to "
        f"{tolerance:g} (--tolerance), and no label{why}"
    )


def _write(predictor: TorchPredictor, format: str, path: Path) -> None:
    """Write the detector, of which parts are taken away."""
    thresholds = predictor.thresholds if gives_labels(predictor) else Thresholds(None, None)
    if format == "anomalib":
        write_checkpoint(to_anomalib(predictor.detector, predictor.record, thresholds), path)
        return
    model = exportable(predictor, format, thresholds)
    if format == "onnx":
        write_onnx(model, path)
        return
    between = path.with_suffix(".onnx")
    write_onnx(model, between)
    to_openvino(between, path)
    between.unlink()


def exportable(predictor: TorchPredictor, format: str, thresholds: Thresholds) -> ExportableDetector:
    """Return the detector, of which parts are taken away, as a module that can be exported."""
    name, tiles = predictor.record.detector, tiles_of_run(predictor.record)
    # A tile is an image of its own: what is outside of the region lies elsewhere in each, and is left out afterwards.
    seen = predictor.geometry if tiles is None else Geometry(tiles.size)
    model = ExportableDetector(name, predictor.detector, seen, thresholds)
    count = sum(tensor.nbytes for tensor in model.state_dict().values())
    if count > _LARGEST:
        raise InputError(
            f"{predictor.record.run_id} has {count / 2**30:.1f} GiB of numbers, and an ONNX file, by way of which it "
            f"would become one of {format}, holds 2 GiB; valid: anomalib, or a run with fewer features"
        )
    return model


def to_openvino(source: Path, path: Path) -> None:
    """Write what an ONNX file computes as a file of OpenVINO."""
    openvino = import_openvino()
    # Numbers are kept as they are: OpenVINO would round them to 16 bits.
    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=False)


def gives_labels(predictor: TorchPredictor) -> bool:
    """Return whether the run's thresholds hold for what a file computes.

    Those for differences from references say nothing about a single image, and those for a part of it nothing about all
    of it.
    """
    return not predictor.needs_references and (_leaves_out(predictor) or not predictor.geometry.leaves_out)


def _leaves_out(predictor: TorchPredictor) -> bool:
    """Return whether a graph leaves out itself what is not looked at: where that is the same for all it computes."""
    same = predictor.geometry.resize == STRETCH and tiles_of_run(predictor.record) is None
    return predictor.geometry.region is not None and same


def _takes(predictor: TorchPredictor) -> str:
    """Return in words what a graph computes."""
    if tiles_of_run(predictor.record) is not None:
        return "tiles of images of image_size"
    return "photographs of any size" if predictor.geometry.plain else "images of image_size"


def write_onnx(model: Exportable, path: Path) -> None:
    """Write a module as a file of ONNX: for any number of images, and of any size where it resizes them itself."""
    height, width = model.image_size
    open_sides = {2: "height", 3: "width"} if model.geometry.plain else {}
    # Of no size that the graph should hold on to.
    example = torch.rand(2, 3, height + 7, width + 19) if open_sides else torch.rand(2, 3, height, width)
    first = torch.zeros(1, dtype=torch.int64)  # for graphs that take the number of a tile
    with quiet(), torch.no_grad():
        torch.onnx.export(
            model,
            (example, first)[: len(model.inputs)],
            path,
            dynamo=False,  # the newer way gave the same scores and took 6 to 38 times as long
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            dynamic_axes={INPUT: {0: "batch", **open_sides}} | {name: {0: "batch"} for name in model.outputs},
            opset_version=_OPSET,
        )


def _open(path: Path, format: str, record: Record) -> Graph:
    return (
        open_checkpoint(path, record.detector)
        if format == "anomalib"
        else open_graph(path, format, tiles_of_run(record))
    )

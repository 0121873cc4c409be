"""``python -m inference_code.export RUN --format onnx | openvino | anomalib``: the detector of a run as a file.

A file for ONNX Runtime or OpenVINO holds the whole way from pixels to labels: see `inference_code.exportable`. What was
written is opened again and compared with the run before it is put in its place.
"""

import dataclasses
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_code.foundation.errors import InputError, choices, run_command, unknown
from training_code.foundation.program import command_parser

if TYPE_CHECKING:
    from inference_code.comparing import Difference
    from inference_code.predictor import Predictor

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "export"
#: The formats and the packages that write them.
FORMATS = {"onnx": ("torch", "onnx"), "openvino": ("torch", "onnx", "openvino"), "anomalib": ("torch", "anomalib")}
#: Largest difference of a score from that of the run, as a part of the range of scores, with which a file is kept
#: where nothing else is asked for.
TOLERANCE = 1e-3
_CHECKPOINT = "model.ckpt"
# An ONNX file is one message of protobuf, which ends at 2 GiB; OpenVINO gets its graph by way of one.
_LARGEST = 2**31 - 2**24
_OPSET = 18
# Fields of the record that are not copied beside the file: long, and of no use there.
_LEFT_OUT = ("training", "environment", "features", "intervals", "by_defect_type", "times", "memory")


def export_run(
    run: str | Path,
    format: str,
    output: str | Path | None = None,
    results: str | Path = "results",
    tolerance: float = TOLERANCE,
) -> tuple[Path, "Difference"]:
    """Write the detector of a run in a format, and beside it a description; return the file and how far it is off.

    Parameters
    ----------
    run, results
        As in `inference_code.predictor.find_run`.
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
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if not tolerance >= 0:
        raise InputError(f"tolerance={tolerance} is out of range; valid: 0 or more")
    versions = {name: version(name) for name in FORMATS[format]}  # one that is missing is told before any computation

    # Only now, so that wrong arguments are answered at once: these bring anomalib and torch.
    from inference_code.anomalib_checkpoint import check_convertible
    from inference_code.comparing import compare, expected
    from inference_code.exported import EXPORTS, MODEL_FILES, SCHEMA_VERSION, description_path
    from inference_code.predictor import Predictor, find_run
    from training_code.foundation import paths
    from training_code.foundation.files import sha256, write_json

    folder = find_run(run, paths.from_home(results))
    predictor = Predictor.load(folder, device="cpu")
    record = predictor.record
    if format == "anomalib":
        check_convertible(record)
    wanted = expected(predictor, folder)
    target = Path(output) if output is not None else folder / EXPORTS
    target.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".export.", dir=target))
    try:
        file = staging / MODEL_FILES.get(format, _CHECKPOINT)
        _write(predictor, format, file)
        difference = compare(_open(file, format, record.detector), wanted)
        _refuse_different(predictor, format, difference, tolerance)
        written = sorted(staging.iterdir())
        description = {
            "schema_version": SCHEMA_VERSION,
            "format": format,
            "run_id": record.run_id,
            "thresholds": dataclasses.asdict(predictor.thresholds),
            "image_size": predictor.image_size,
            "bits": record.dataset.bits,
            "files": {path.name: sha256(path) for path in written},
            "difference": dataclasses.asdict(difference),
            "tolerance": tolerance,
            "versions": versions,
            "record": {name: value for name, value in dataclasses.asdict(record).items() if name not in _LEFT_OUT},
        }
        # A file without its description counts as unfinished, so that a kill in between leaves nothing half new.
        description_path(target / file.name).unlink(missing_ok=True)
        for path in written:
            os.replace(path, target / path.name)
        write_json(description_path(target / file.name), description)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target / file.name, difference


def _refuse_different(predictor: "Predictor", format: str, difference: "Difference", tolerance: float) -> None:
    if difference.score <= tolerance and not difference.labels:
        return
    precision = predictor.record.options.backbone_precision
    why = "" if precision == "float32" else f" (the run computed in {precision}, the file computes in float32)"
    raise InputError(
        f"{predictor.record.run_id} is not exported to {format}: on {difference.images} {difference.source} its scores "
        f"differ by {difference.score:.1e} of their range and {difference.labels} labels are other ones; valid: up to "
        f"{tolerance:g} (--tolerance), and no label{why}"
    )


def _write(predictor: "Predictor", format: str, path: Path) -> None:
    """Write the detector, of which parts are taken away."""
    if format == "anomalib":
        from inference_code.anomalib_checkpoint import to_anomalib, write_checkpoint

        write_checkpoint(to_anomalib(predictor.detector, predictor.record, predictor.thresholds), path)
        return
    from inference_code.exportable import ExportableDetector

    model = ExportableDetector(predictor.detector, predictor.image_size, predictor.thresholds)
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > _LARGEST:
        raise InputError(
            f"{predictor.record.run_id} has {size / 2**30:.1f} GiB of numbers, and an ONNX file, by way of which it "
            f"would become one of {format}, holds 2 GiB; valid: anomalib, or a run with fewer features"
        )
    if format == "onnx":
        _write_onnx(model, path)
        return
    from training_code.features.runtime import import_openvino

    openvino = import_openvino()
    between = path.with_suffix(".onnx")
    _write_onnx(model, between)
    # Numbers are kept as they are: OpenVINO would round them to 16 bits.
    openvino.save_model(openvino.convert_model(between), path, compress_to_fp16=False)
    between.unlink()


def _write_onnx(model: Any, path: Path) -> None:
    import torch

    from inference_code.exportable import INPUT
    from training_code.training.engine import quiet

    # Of no size that the graph should hold on to.
    example = torch.rand(2, 3, model.image_size[0] + 7, model.image_size[1] + 19)
    with quiet(), torch.no_grad():
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=False,  # the newer way gave the same scores and took 6 to 38 times as long
            input_names=[INPUT],
            output_names=list(model.outputs),
            dynamic_axes={INPUT: {0: "batch", 2: "height", 3: "width"}}
            | {name: {0: "batch"} for name in model.outputs},
            opset_version=_OPSET,
        )


def _open(path: Path, format: str, detector: str) -> Any:
    if format == "anomalib":
        from inference_code.anomalib_checkpoint import open_checkpoint

        return open_checkpoint(path, detector)
    from inference_code.exported import open_graph

    return open_graph(path, format)


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("inference_code.export", __doc__)
    parser.add_argument("run", help="the id or folder of a run, or best")
    parser.add_argument("--format", required=True, help=f"one of {choices(FORMATS)}")
    parser.add_argument("--output", type=Path, help="folder for the files (default: exports/ in the folder of the run)")
    parser.add_argument("--results", default="results", help="folder with the runs (default: results)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help=f"largest difference of a score, as a part of the range of scores (default: {TOLERANCE:g})",
    )
    options = parser.parse_args(arguments)
    path, difference = export_run(options.run, options.format, options.output, options.results, options.tolerance)
    print(f"written: {path}, {path.name}.json beside it")
    print(
        f"largest difference on {difference.images} {difference.source}: {difference.score:.1e} of the range of scores"
        f", {difference.map:.1e} of the range of maps; the labels are the same, scores at the threshold itself left out"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))

"""``python -m inference_code.export RUN --format onnx | openvino | anomalib``: the detector of a run as a file.

A file for ONNX Runtime or OpenVINO holds the whole way from pixels to labels. What was written is opened again and
compared with the run before it is put in its place.
"""

import argparse
import sys
from pathlib import Path

from inference_code.arguments import add_choice_options, tell
from inference_code.export.formats import FILE_PRECISIONS, FORMATS, INT8_TOLERANCE, TOLERANCE, check_request
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, run_command
from training_code.foundation.program import command_parser

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "export"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("inference_code.export", __doc__)
    parser.add_argument("run", help="the id or folder of a run, or best")
    parser.add_argument("--format", required=True, help=f"one of {choices(FORMATS)}")
    parser.add_argument("--output", type=Path, help="folder for the files (default: exports/ in the folder of the run)")
    add_choice_options(parser)
    parser.add_argument(
        "--precision",
        default="float32",
        help=f"one of {choices(FILE_PRECISIONS)}: int8 has the network compute in 8-bit integers, with thresholds of "
        "its own (default: float32)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="for int8: good photographs that were not trained on, for ranges and thresholds (default: the run's)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help=f"largest difference of a score, as a part of the range of scores (default: {TOLERANCE:g}); for int8 the "
        "largest part of the labels of unseen images that changes, or of image_AUROC that is lost (default: "
        f"{INT8_TOLERANCE:g})",
    )
    options = parser.parse_args(arguments)
    quantized = options.precision == "int8"
    if options.tolerance is None:
        options.tolerance = INT8_TOLERANCE if quantized else TOLERANCE
    check_request(options.format, options.tolerance, options.precision)
    if options.images is not None and not quantized:
        raise InputError("--images gives photographs for --precision int8, and nothing for float32")
    return _export_int8(options) if quantized else _export(options)


def _export(options: argparse.Namespace) -> int:
    """Export in float32."""
    run = _run(options)

    # Only now, so that --help and wrong arguments are answered at once: torch and anomalib take 5 to 20 s to import.
    from inference_code.export.export import export_run

    path, difference = export_run(run, options.format, options.output, options.results, options.tolerance)
    print(f"written: {path}, {path.name}.json beside it")
    print(
        f"largest difference on {difference.images} {difference.source}: {difference.score:.1e} of the range of scores"
        f", {difference.map:.1e} of the range of maps; the labels are the same, scores at the threshold itself left out"
    )
    return 0


def _export_int8(options: argparse.Namespace) -> int:
    """Export in 8-bit integers."""
    run = _run(options)

    # Here, as in `_export`; NNCF comes with an extra of its own.
    from inference_code.export.int8.export import Asked, export_int8
    from inference_code.graph_files import read_description

    asked = Asked(options.format, options.images, options.tolerance)
    path, measured = export_int8(run, asked, options.output, options.results)
    print(f"written: {path}, {path.name}.json beside it")
    print(measured.sentence)
    print(read_description(path)["promise"])
    return 0


def _run(options: argparse.Namespace) -> Path:
    """Return the folder of the run."""
    # Here, as in `_export`: pandas takes a second.
    from inference_code.runs import find_run

    return find_run(options.run, paths.from_home(options.results), options.dataset, options.criterion, tell)


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))

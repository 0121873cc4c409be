"""``python -m inference_code.export RUN --format onnx | openvino | anomalib``: the detector of a run as a file.

A file for ONNX Runtime or OpenVINO holds the whole way from pixels to labels. What was written is opened again and
compared with the run before it is put in its place.
"""

import sys
from pathlib import Path

from inference_code.export.formats import FORMATS, TOLERANCE, check_request
from training_code.foundation.errors import choices, run_command
from training_code.foundation.program import command_parser

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "export"


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
    check_request(options.format, options.tolerance)

    # Only now, so that --help and wrong arguments are answered at once: torch and anomalib take 5 to 20 s to import.
    from inference_code.export.export import export_run

    path, difference = export_run(options.run, options.format, options.output, options.results, options.tolerance)
    print(f"written: {path}, {path.name}.json beside it")
    print(
        f"largest difference on {difference.images} {difference.source}: {difference.score:.1e} of the range of scores"
        f", {difference.map:.1e} of the range of maps; the labels are the same, scores at the threshold itself left out"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))

"""``python -m inference_code.serve RUN [RUN …] --port 8000``: detectors over HTTP, and a page to try them.

With ``--station DIR`` also the page of a station; without any RUN that page alone.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from inference_code.arguments import add_run_options, check_numbers, choice, load_options, tell
from inference_code.ranges import BATCH_SIZES
from inference_code.service.limits import Limits
from inference_code.service.listening import Door, add_door_options, open_door
from training_code.data.images import MAX_PIXELS
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

if TYPE_CHECKING:
    from fastapi import FastAPI

    from inference_code.service.frame import Addition

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "serve"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status once the service was stopped."""
    options = _parser().parse_args(arguments)
    check_numbers(options, batch_size=BATCH_SIZES, max_body=(0, 1024), max_megapixels=(0, MAX_PIXELS / 1e6))
    limits = Limits(
        body=round(options.max_body * 2**20),
        pixels=round(options.max_megapixels * 1e6),
        waiting=options.queue,
        seconds=options.timeout,
    )
    if not options.runs and options.station is None:
        raise InputError("no detector is given; valid: the id or folder of a RUN, or best, or --station DIR")
    if not options.runs and (options.dataset is not None or options.criterion is not None):
        raise InputError("--dataset and --criterion choose among runs, and none is served; valid: with best")
    # Taken at once, so that a port that is in use is known before models are loaded; nobody can connect yet.
    with open_door(options.host, options.port, options.api_key_file) as door:
        # Only now, so that --help and wrong arguments are answered at once. What the extra brings comes first, so that
        # a package that is missing is told before torch and anomalib are imported, which takes 5 to 20 s.
        from inference_code.service.frame import Access
        from inference_code.service.server import run_server
        from inference_code.station.page.app import make_station_app, station_folder, station_page

        pages = [] if options.station is None else [station_page(station_folder(options.station))]
        if options.runs:
            app, names = _load(options, limits, door, pages)
        else:
            app = make_station_app(pages[0], limits, Access(door.keys, door.names))
            names = [f"the page of {options.station} at /station"]
        return run_server(app, door.listener, limits, f"{door.address} serves {', '.join(names)}; Ctrl-C ends it")


def _load(
    options: argparse.Namespace, limits: Limits, door: Door, pages: list["Addition"]
) -> tuple["FastAPI", list[str]]:
    """Return a service of detectors, and what it serves."""
    # After everything else, as `main` says.
    from inference_code.service.app import create_app

    loaded_as = load_options(options)

    from inference_code.loading import load_predictor

    predictors = [
        load_predictor(run, options.results, *choice(options, run, *options.runs), loaded_as, tell)
        for run in options.runs
    ]
    app = create_app(predictors, limits, door.keys, options.batch_size, door.names, pages)
    return app, [predictor.record.run_id for predictor in predictors] + ["/station"] * len(pages)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "inference_code.serve",
        __doc__,
        "Exit status: 0 stopped, what was taken was answered; 1 it could not begin, or was stopped at once by a "
        "second signal; 2 wrong input. What clients send and get: /openapi.json.",
    )
    parser.add_argument(
        "runs", nargs="*", metavar="run", help="ids or folders of runs, or best; the first is the default of clients"
    )
    parser.add_argument("--station", metavar="DIR", help="show the page of a station at /station: its --output")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: 8000)")
    add_door_options(parser)
    parser.add_argument("--max-body", type=float, default=32, help="MiB of the largest request (default: 32)")
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=67.108864,
        help="of the largest image, 67 (8192 × 8192) at most (default: 67)",
    )
    parser.add_argument(
        "--queue", type=int, default=64, help="images that wait before clients are told to come again (default: 64)"
    )
    parser.add_argument(
        "--timeout", type=float, default=30, help="seconds for a request to arrive, and for its answer (default: 30)"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="images that are predicted at once (default: 8)")
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))

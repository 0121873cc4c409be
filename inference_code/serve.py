"""``python -m inference_code.serve RUN [RUN …] --port 8000``: detectors over HTTP, and a page to try them."""

import argparse
import ipaddress
import sys
from pathlib import Path

from inference_code.arguments import add_run_options, check_numbers, load_options
from inference_code.ranges import BATCH_SIZES
from inference_code.service.keys import read_keys
from inference_code.service.limits import Limits
from inference_code.service.listening import open_socket
from training_code.data.images import MAX_PIXELS
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

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
    keys = read_keys(options.api_key_file) if options.api_key_file else []
    # Taken at once, so that a port that is in use is known before models are loaded; nobody can connect yet.
    with open_socket(options.host, options.port) as listener:
        address, port = listener.getsockname()[:2]
        if not keys and not ipaddress.ip_address(address).is_loopback:
            raise InputError(
                f"--host {options.host} can be reached from other machines; valid: --api-key-file FILE with it, or "
                "--host 127.0.0.1"
            )

        # Only now, so that --help and wrong arguments are answered at once: torch and anomalib take 5 to 20 s.
        # What the extra brings comes first, so that a package that is missing is told before that.
        from inference_code.service.app import LOCAL_NAMES, create_app
        from inference_code.service.server import run_server

        loaded_as = load_options(options)

        from inference_code.loading import load_predictor

        predictors = [
            load_predictor(run, options.results, options.dataset, options.criterion, loaded_as) for run in options.runs
        ]
        app = create_app(predictors, limits, keys, options.batch_size, {*LOCAL_NAMES, address, options.host})
        place = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        names = ", ".join(predictor.record.run_id for predictor in predictors)
        return run_server(app, listener, limits, f"{place} serves {names}; Ctrl-C ends it")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "inference_code.serve",
        __doc__,
        "Exit status: 0 stopped, what was taken was answered; 1 it could not begin, or was stopped at once by a "
        "second signal; 2 wrong input. What clients send and get: /openapi.json.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="run", help="ids or folders of runs, or best; the first is the default of clients"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: 8000)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; one that other machines reach needs --api-key-file (default: 127.0.0.1)",
    )
    parser.add_argument("--api-key-file", type=Path, help="file with a key in each line, of which clients send one")
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

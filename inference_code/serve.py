"""``python -m inference_code.serve RUN [RUN …] --port 8000``: detectors over HTTP, and a page to try them."""

import argparse
import ipaddress
import math
import signal
import socket
import sys
from pathlib import Path

from inference_code.arguments import add_run_options, load_predictor
from inference_code.service.limits import Limits
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "serve"
# Shorter ones can be guessed.
_SHORTEST_KEY = 16


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status once the service was stopped."""
    options = _parser().parse_args(arguments)
    if options.batch_size < 1:
        raise InputError(f"--batch-size is {options.batch_size}; valid: 1 or more")
    for name, value in (("max_body", options.max_body), ("max_megapixels", options.max_megapixels)):
        if not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} is {value}; valid: more than 0")
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

        # Only now, so that --help and wrong arguments are answered at once: these bring anomalib and torch.
        import uvicorn

        from inference_code.service.app import LOCAL_NAMES, create_app

        predictors = [load_predictor(run, options) for run in options.runs]
        app = create_app(predictors, limits, keys, options.batch_size, {*LOCAL_NAMES, address, options.host})
        place = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        names = ", ".join(predictor.record.run_id for predictor in predictors)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    print(f"{place} serves {names}; Ctrl-C ends it", flush=True)

        server = Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=limits.connections,
                # What was taken may take its time to arrive and its time to be answered.
                timeout_graceful_shutdown=math.ceil(2 * limits.seconds) + 5,
            )
        )
        # uvicorn raises them again once it has ended, which would end this process before it says so.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        try:
            server.run(sockets=[listener])
        except SystemExit:  # it could not begin; its log says why
            return 1
    if server.force_exit:
        print("stopped at once, at the second signal")
        return 1
    print("stopped")
    return 0


def read_keys(path: Path) -> list[str]:
    """Return the keys in a file, one in each line; empty lines and those that begin with # are passed over.

    Raises
    ------
    InputError
        If there is none, or one is shorter than 16 characters or holds others than letters, digits and signs of ASCII.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise InputError(f"{path} holds no key; valid: one in each line")
    for number, key in enumerate(keys, 1):
        if len(key) < _SHORTEST_KEY or not all("!" <= character <= "~" for character in key):
            raise InputError(
                f"key {number} of {path} is not valid; valid: {_SHORTEST_KEY} or more letters, digits and signs"
            )
    return keys


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port; it does not listen yet.

    Raises
    ------
    InputError
        If the port or the host cannot be had.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}; valid: 0 to 65535, 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host} is not known; valid: 127.0.0.1, or an address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise InputError(f"port {port} of {host} cannot be had: {error.strerror}") from error
    return listener


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

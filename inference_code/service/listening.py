"""The port that the service listens on, and who may ask there; a command takes it before anything else is imported."""

import argparse
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inference_code.service.keys import read_keys
from training_code.foundation.errors import InputError

#: Where a service listens if nothing else is said.
LOCAL_HOST = "127.0.0.1"
#: Names under which a service without keys is called.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Door:
    """A port that is held, and who may ask there.

    Attributes
    ----------
    listener
        The socket; it does not listen yet, so that nobody can connect.
    keys
        Of clients; none where only this machine can ask.
    names
        Under which a service without keys is called.
    address
        As people type it: ``http://127.0.0.1:8000``.
    """

    listener: socket.socket
    keys: list[str]
    names: frozenset[str]
    address: str


def add_door_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who may ask, to be given to `open_door`."""
    parser.add_argument(
        "--host",
        default=LOCAL_HOST,
        help=f"address to listen on; one that other machines reach needs --api-key-file (default: {LOCAL_HOST})",
    )
    parser.add_argument("--api-key-file", type=Path, help="file with a key in each line, of which clients send one")


@contextmanager
def open_door(host: str, port: int, key_file: Path | None) -> Iterator[Door]:
    """Hold a port while the block runs.

    Raises
    ------
    InputError
        If the port or the host cannot be had, the keys cannot be read, or other machines could ask without a key.
    """
    keys = read_keys(key_file) if key_file else []
    with open_socket(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        if not keys and not ipaddress.ip_address(address).is_loopback:
            raise InputError(
                f"--host {host} can be reached from other machines; valid: --api-key-file FILE with it, or "
                "--host 127.0.0.1"
            )
        place = f"http://[{address}]:{taken}" if ":" in address else f"http://{address}:{taken}"
        yield Door(listener, keys, frozenset({*LOCAL_NAMES, address, host}), place)


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

"""The port that the service listens on; the command takes it before anything else is imported."""

import socket

from training_code.foundation.errors import InputError


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

"""Where a kernel and whoever started it talk: sockets in a folder of their own, removed when they are done."""

import os
import re
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from traitlets.config import Config

from training_code.notebooks.processes import is_alive

# Bytes of the path of a socket that every system takes: Linux 107, macOS 103.
_LONGEST = 103
# A name as `kernel_sockets` gives it: the process that made the folder, and its machine.
_NAME = re.compile(r"kernel-(?P<pid>\d+)-(?:(?P<host>[0-9a-f]{8})-)?[^-]*")


@contextmanager
def kernel_sockets() -> Iterator[Config]:
    """Give the configuration of a kernel's manager for sockets in a new folder, which is removed at the end.

    Nobody else on the machine can reach them, unlike network ports. Where no temporary folder has a name that is short
    enough for sockets, it is ports after all. Folders that killed processes left behind on this machine are removed.
    """
    remove_leftovers()
    host = _host()
    for parent in _parents():
        with suppress(OSError):
            folder = tempfile.mkdtemp(prefix=f"kernel-{os.getpid()}-{host}-", dir=parent)
            break
    else:
        yield Config({"KernelManager": {"transport": "tcp"}})
        return
    try:
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/socket"}})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove the folders of sockets whose processes were killed on this machine."""
    for parent in _parents():
        for folder in parent.glob("kernel-*"):
            name = _NAME.fullmatch(folder.name)
            if name and name["host"] in (None, _host()):
                with suppress(FileNotFoundError):  # another process removes it right now
                    if not is_alive(int(name["pid"]), folder.stat().st_mtime):
                        shutil.rmtree(folder, ignore_errors=True)  # another user's stays


def _parents() -> list[Path]:
    """Return the folders for temporary files in which a socket's path is short enough, the usual one first."""
    parents = dict.fromkeys((tempfile.gettempdir(), "/tmp"))
    longest = f"/kernel-{2**22}-{_host()}-{'x' * 8}/socket-5"
    return [Path(parent) for parent in parents if len(os.fsencode(parent + longest)) <= _LONGEST]


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"

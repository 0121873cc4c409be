"""Kernels that start warm: forked from a process that has imported everything (`training_code.notebooks.zygote`)."""

import asyncio
import atexit
import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from training_code.foundation import paths
from training_code.notebooks.forked import NoWarmKernelError, WarmProcess

#: Bytes of a message to the process that forks; an environment is a few kilobytes.
MESSAGE = 2**17
# What the zygote needs in its environment: these libraries would start threads while they are imported, and a kernel
# chooses the backend of matplotlib before its first import.
_FOR_IMPORTS = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
_ZYGOTE = "training_code.notebooks.zygote"
# The module in the command of a kernel, behind which its arguments stand.
_LAUNCHER = "ipykernel_launcher"
# Seconds that the imports may take, on a machine that is busy with other work.
_IMPORTS = 300.0
# Variables that are read while our modules are imported: a zygote with other values of them cannot be used.
_READ_BY_IMPORTS = ("ANOMALY_", "PYTHON")
_NAME = "warm-provisioner"
KernelProvisionerFactory.provisioners[_NAME] = EntryPoint(
    _NAME, f"{__name__}:WarmProvisioner", KernelProvisionerFactory.GROUP_NAME
)


class Zygote:
    """The process from which kernels are forked; it starts to import in the background when this object is made.

    Parameters
    ----------
    environment
        Its variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = _read_by_imports(environment)
        self._lock = threading.Lock()
        self._problem: str | None = None
        self._ready = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output = tempfile.TemporaryFile()
        command = [sys.executable, "-m", _ZYGOTE, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                cwd=paths.CODE,
                env={**environment, **_FOR_IMPORTS},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,  # Ctrl-C is for the process that started us
            )

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Return whether kernels with these variables can be forked from this process."""
        return self._process.poll() is None and self.environment == _read_by_imports(environment)

    def fork(self, order: Mapping[str, Any], streams: Sequence[int]) -> WarmProcess:
        """Start a kernel.

        Parameters
        ----------
        order
            ``arguments`` of ipykernel, working ``folder``, and ``environment``: all variables of the kernel.
        streams
            Descriptors of standard input, output and error.

        Raises
        ------
        NoWarmKernelError
            If the process is gone, its imports failed, or it cannot be forked.
        """
        message = json.dumps(order).encode()
        if len(message) > MESSAGE:
            raise NoWarmKernelError(f"the environment has {len(message)} bytes; valid: up to {MESSAGE}")
        with self._lock:
            self._wait_for_imports()
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            try:
                socket.send_fds(self._control, [message], [*streams, theirs])
            except OSError as error:
                os.close(ours)
                raise NoWarmKernelError(f"the process that forks kernels is gone: {error}") from error
            finally:
                os.close(theirs)
        return WarmProcess(ours)

    def close(self) -> None:
        """End the process; kernels that still run end themselves within a second or two."""
        self._control.close()
        self._output.close()
        self._process.kill()
        self._process.wait()

    def stop_importing(self) -> None:
        """End the process if it still imports: who waits for a kernel is told that it is gone."""
        if not self._ready:
            self._process.kill()

    def _wait_for_imports(self) -> None:
        if not self._ready:
            answered = select.select([self._control], [], [], _IMPORTS)[0]
            message = self._control.recv(MESSAGE) if answered else b""
            if message:
                self._problem = json.loads(message)["problem"]
            else:
                self._output.seek(0)
                said = self._output.read().decode(errors="replace").strip()
                self._problem = said or "the process that imports for the kernels does not answer"
            self._ready = True
        if self._problem is not None:
            raise NoWarmKernelError(self._problem)


class WarmProvisioner(LocalProvisioner):
    """Starts kernels by forking; where that is impossible it prints the reason once and starts new processes."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel of ``cmd``, whose connection file has been written."""
        try:
            process = await asyncio.to_thread(_fork, cmd[cmd.index(_LAUNCHER) + 1 :], kwargs)
        except NoWarmKernelError as error:
            _say_once(f"kernels start as new processes, since none can be forked: {str(error).splitlines()[-1]}")
            return await super().launch_kernel(cmd, **kwargs)
        self.process = cast("subprocess.Popen[bytes]", process)  # it has the methods that are used
        self.pid = self.pgid = process.pid  # a kernel leads its process group
        self.cwd = kwargs.get("cwd", pathlib.Path.cwd())
        return self.connection_info


def warm_spec(spec: KernelSpec) -> KernelSpec:
    """Give a kernel's specification the provisioner that forks, and return it."""
    spec.metadata = {**spec.metadata, "kernel_provisioner": {"provisioner_name": _NAME}}
    return spec


def kernel_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a kernel: those of this process, ``environment``, and the code of this checkout first."""
    variables = {**os.environ, **(environment or {})}
    path = [str(paths.CODE), *filter(None, [variables.get("PYTHONPATH")])]
    return {**variables, "PYTHONPATH": os.pathsep.join(path)}


def start_importing() -> None:
    """Start the process from which kernels will be forked; it imports in the background."""
    _zygote_for(kernel_environment())


def stop_importing() -> None:
    """End that process if it still imports: a program that was told to stop does not wait for its imports."""
    if _zygote is not None:
        _zygote.stop_importing()


_zygote: Zygote | None = None
_lock = threading.Lock()
_said: set[str] = set()


def _zygote_for(environment: Mapping[str, str]) -> Zygote:
    global _zygote
    with _lock:
        if _zygote is None or not _zygote.serves(environment):
            if _zygote is not None:
                _zygote.close()
            else:
                atexit.register(_close)
            _zygote = Zygote(environment)
        return _zygote


def _close() -> None:
    if _zygote is not None:
        _zygote.close()


def _fork(arguments: Sequence[str], options: Mapping[str, Any]) -> WarmProcess:
    environment = options.get("env") or os.environ
    with contextlib.ExitStack() as stack:
        nothing = stack.enter_context(open(os.devnull, "rb"))
        streams = [nothing.fileno()]
        for number, name in enumerate(("stdout", "stderr"), 1):
            stream = options.get(name)
            streams.append(number if stream is None else stream.fileno())
        folder = str(options.get("cwd") or pathlib.Path.cwd())
        order = {"arguments": arguments, "folder": folder, "environment": dict(environment)}
        return _zygote_for(environment).fork(order, streams)


def _read_by_imports(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_BY_IMPORTS)}


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr, flush=True)

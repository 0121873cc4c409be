"""``python -m training_code.notebooks.zygote DESCRIPTOR``: a process from which kernels are forked.

It imports what training notebooks import and does nothing else: no threads, no CUDA context, no random numbers. A
kernel that is forked from it is like a new one after its imports, which take most of the time of a short job.
`training_code.notebooks.warm` starts it and gives it orders; when that process is gone, it ends with its kernels.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ipykernel_launcher
import lightning  # noqa: F401  first: from here on torch looks for GPUs without a CUDA context, which no fork survives
import matplotlib.pyplot  # noqa: F401  for the kernels, as some of those below
import matplotlib_inline.backend_inline  # noqa: F401
import numpy as np
import torch
from ipykernel.kernelapp import IPKernelApp
from threadpoolctl import threadpool_limits

import training_code.detectors
import training_code.experiment  # noqa: F401
from training_code.features.runtime import import_openvino
from training_code.notebooks.warm import MESSAGE

# Variables by which libraries learn the number of their threads, the one that counts first.
_OPENMP = ("OMP_NUM_THREADS",)
_BLAS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Order:
    """A kernel that is wanted.

    Attributes
    ----------
    arguments
        Of ipykernel: the file with the kernel's sockets and what else its manager wants.
    folder
        The working folder.
    environment
        All variables, in place of those of this process.
    streams
        Descriptors of standard input, output and error.
    """

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    streams: tuple[int, ...]


def main(descriptor: int) -> None:
    """Report what prevents forking, if anything, and serve; this returns only in kernels, when they end."""
    del sys.path[0]  # the working folder, which is not on a kernel's path either
    control = socket.socket(fileno=descriptor)
    openmp = _number(os.environ, _OPENMP)
    control.send(json.dumps({"problem": _prepare()}).encode())
    order = serve(control)
    become_kernel(order, openmp)


def _prepare() -> str | None:
    """Return why no kernels can be forked from this process after its imports, None if they can."""
    import_openvino()
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        return f"the imports started {threads - 1} threads"
    if torch.cuda.is_initialized():
        return "the imports made a CUDA context"
    if not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(torch.initial_seed()).get_state()):
        return "the imports drew random numbers"
    gc.collect()
    gc.freeze()  # existing objects stay shared with the kernels until they are written to
    return None


def serve(control: socket.socket) -> Order:
    """Fork a kernel for each order that comes, and report how each one ends; return in the kernels only.

    The report of a kernel is a pipe: first its process id, at its end its exit status, negative for a signal.
    """
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, MESSAGE)
            _report_ended(reports)
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE, 4)
        if not message:
            _end(reports)
        *streams, report = descriptors
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for used in (control.detach(), wake, woken, report, *reports.values()):
                os.close(used)
            return Order(streams=tuple(streams), **json.loads(message))
        for stream in streams:
            os.close(stream)
        reports[pid] = report
        _write_report(report, pid)


def become_kernel(order: Order, openmp: int) -> None:
    """Make this process, just forked, the kernel of ``order``, and run it until it is shut down.

    Parameters
    ----------
    order
        The kernel.
    openmp
        Threads that OpenMP took when this process was started.
    """
    os.setsid()  # signals to the group of the kernel reach it and what it starts, nothing else
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(order.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order.folder)
    variables = {**order.environment, **_set_by_imports()}
    os.environ.clear()
    os.environ.update(variables)
    _set_threads(openmp)
    # Otherwise every kernel would draw the same numbers where nobody sets a seed.
    np.random.seed()
    torch.seed()
    sys.argv = [ipykernel_launcher.__file__, *order.arguments]
    # The kernel ends itself when its parent is gone.
    IPKernelApp.launch_instance(argv=[*sys.argv[1:], f"--IPKernelApp.parent_handle={os.getppid()}"])


def _set_by_imports() -> dict[str, str]:
    """Return the variables that libraries set while they were imported, as they do in a new process."""
    begun_with = Path("/proc/self/environ").read_bytes().decode(errors="surrogateescape").split("\0")
    return {name: value for name, value in os.environ.items() if f"{name}={value}" not in begun_with}


def _set_threads(openmp: int) -> None:
    """Give libraries that are imported the threads that they would have taken from the environment.

    OpenBLAS and torch take no more than there are cores.
    """
    cores = len(os.sched_getaffinity(0))
    threadpool_limits(min(_number(os.environ, _BLAS), cores), user_api="blas")
    wanted = _number(os.environ, _OPENMP)
    if wanted != openmp:
        threadpool_limits(wanted, user_api="openmp")
        torch.set_num_threads(min(wanted, cores))


def _number(environment: Mapping[str, str], names: tuple[str, ...]) -> int:
    """Return the number that the first of these variables holds, or that of the cores."""
    for name in names:
        with suppress(ValueError):
            if (number := int(environment.get(name, ""))) > 0:
                return number
    return len(os.sched_getaffinity(0))


def _report_ended(reports: dict[int, int]) -> None:
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if (report := reports.pop(pid, None)) is not None:
            _write_report(report, os.waitstatus_to_exitcode(status))
            os.close(report)


def _write_report(report: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody reads the report any more
        os.write(report, f"{number}\n".encode())


def _end(kernels: Mapping[int, int]) -> None:
    """End this process and every kernel at once: the process that ordered them is gone."""
    for pid in kernels:
        for kill in (os.killpg, os.kill):  # just forked, it has no group of its own yet
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))

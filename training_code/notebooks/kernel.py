"""Executing a notebook through papermill, as sweeps and the comparison do."""

import contextlib
import logging
import math
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import papermill
import psutil
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import LocalProvisioner
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from training_code.foundation import paths
from training_code.notebooks import DEFAULT_KERNELS
from training_code.notebooks.forked import WarmProcess
from training_code.notebooks.outputs import BOUNDED, shortened
from training_code.notebooks.sockets import kernel_sockets
from training_code.notebooks.warm import kernel_environment, stop_importing, warm_spec

#: Names of the exceptions that say that memory ran out.
MEMORY_ERRORS = ("MemoryError", "OutOfMemoryError")
# Bytes of the message of an error that are told.
_MESSAGE = 4000
# Seconds between two looks at the memory of a kernel.
_LOOK = 0.5
# What goes wrong is told by the errors below, and once.
logging.getLogger("papermill").setLevel(logging.CRITICAL)


class NotebookError(Exception):
    """A notebook did not come to its end; the message says why in one sentence."""


class NotebookTimeoutError(NotebookError):
    """A cell took too long."""


class NotebookMemoryError(NotebookError):
    """Memory ran out: the cell said so, or the kernel was killed for it."""


@dataclass(frozen=True)
class KernelOptions:
    """How the kernel of a notebook is run.

    Attributes
    ----------
    start
        ``"warm"``: forked from a process that has imported everything; ``"fresh"``: as a new process.
    memory
        GiB after which it is killed; None for no limit.
    environment
        Variables that it gets beside those of this process.
    log
        File that receives what it writes outside of cells, when it dies for instance; None for this process' own
        output.
    """

    start: str = DEFAULT_KERNELS
    memory: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None


_AS_USUAL = KernelOptions()


def execute_notebook(
    notebook: Path | NotebookNode,
    output: Path,
    parameters: Mapping[str, Any],
    timeout: float | None = None,
    kernel: KernelOptions = _AS_USUAL,
) -> None:
    """Execute a notebook in a kernel of its own, in the folder of the notebooks.

    The kernel has this interpreter and the code of this checkout, whatever kernel the notebook names. Of what a cell
    prints without end the first and the last part are kept. The kernel is gone when this returns, however it ended; if
    this process is killed, the kernel ends itself within a second or two.

    Parameters
    ----------
    notebook
        The notebook or its path.
    output
        Where the executed notebook is written, also while it is running.
    parameters
        Values for its parameters cell.
    timeout
        Seconds after which a cell is given up.
    kernel
        How the kernel is run.

    Raises
    ------
    NotebookTimeoutError, NotebookMemoryError, NotebookError
        If a cell takes too long, memory runs out, or for any other reason, a cell that raises an error for instance.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    guards: list[_Guard] = []
    # Not the one that is found by its name: a user may have another interpreter under it.
    spec = KernelSpec(argv=make_ipkernel_cmd(), display_name="Python 3", language="python")
    if kernel.start == "warm":
        warm_spec(spec)

    class Kernel(AsyncKernelManager):
        """Starts the kernel as `kernel` says, and says which process it started."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            options["env"] = kernel_environment({**options.get("env", {}), **kernel.environment})
            with contextlib.ExitStack() as stack:
                if kernel.log is not None:
                    options["stdout"] = options["stderr"] = stack.enter_context(open(kernel.log, "ab"))
                await super()._async_launch_kernel(kernel_cmd, **options)
            assert isinstance(self.provisioner, LocalProvisioner) and self.provisioner.process is not None
            guards.append(_Guard(self.provisioner.process, kernel.memory))

    with kernel_sockets() as config:
        try:
            papermill.execute_notebook(
                _verbatim(notebook) if isinstance(notebook, Path) else notebook,
                _verbatim(output),
                parameters=dict(parameters),
                engine_name=BOUNDED,
                kernel_name="python3",
                language="python",
                cwd=paths.NOTEBOOKS,
                progress_bar=False,
                execution_timeout=None if timeout is None else math.ceil(timeout),  # whole seconds alone are taken
                config=config,
                kernel_manager_class=Kernel,
            )
        except PapermillExecutionError as error:
            kind = NotebookMemoryError if error.ename in MEMORY_ERRORS else NotebookError
            raise kind(shortened(f"{error.ename}: {error.evalue}", _MESSAGE)) from error
        except CellTimeoutError as error:
            raise NotebookTimeoutError(f"a cell took longer than {timeout:.0f} s") from error
        except (DeadKernelError, RuntimeError) as error:
            if not guards:
                raise NotebookError(f"no kernel could be started: {' '.join(str(error).split())}") from error
            raise guards[-1].explain() from error
        except (KeyboardInterrupt, SystemExit):
            stop_importing()
            raise
        finally:
            for guard in guards:
                guard.end()


def _verbatim(path: Path) -> str:
    """Return a path for papermill, which puts parameters in the place of what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


class _Guard:
    """Watches the process of a kernel: its memory, and how it ended."""

    def __init__(self, process: subprocess.Popen | WarmProcess, memory: float | None) -> None:
        self.process, self.memory = process, memory
        self.exceeded = False
        self._ended = threading.Event()
        if memory is not None:
            threading.Thread(target=self._watch, args=(memory,), daemon=True).start()

    def end(self) -> None:
        """Stop watching, and make sure that the kernel is gone."""
        self._ended.set()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def explain(self) -> NotebookError:
        """Return the error that says how a kernel died."""
        deadline = time.monotonic() + 5
        while (status := self.process.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.exceeded:
            return NotebookMemoryError(f"the kernel was killed: it used more than {self.memory:g} GiB of memory")
        if status == -signal.SIGKILL:
            return NotebookMemoryError("the kernel was killed, as the system does when memory runs out")
        if status is not None and status < 0:
            return NotebookError(f"the kernel died of {signal.Signals(-status).name}")
        if status == 0:
            return NotebookError("a cell ended the kernel, as exit() does")
        return NotebookError(f"the kernel died{'' if status is None else f' with exit status {status}'}")

    def _watch(self, memory: float) -> None:
        limit = memory * 2**30
        while not self._ended.wait(_LOOK):
            try:
                kernel = psutil.Process(self.process.pid)
                used = sum(process.memory_info().rss for process in [kernel, *kernel.children(recursive=True)])
            except psutil.Error:  # ended meanwhile
                return
            if used > limit:
                self.exceeded = True
                self.process.kill()
                return

"""A kernel that was forked from another process of ours, as the libraries of Jupyter want to have processes."""

import os
import select
import signal
import subprocess
import time

# Seconds that a fork may take, on a machine that is busy with other work.
_FORK = 60.0


class NoWarmKernelError(Exception):
    """No kernel can be forked; the message says why."""


class WarmProcess:
    """A kernel with the interface of `subprocess.Popen`, although it is a child of another process.

    Parameters
    ----------
    report
        Descriptor of the pipe in which the zygote reports the process id and the exit status.

    Raises
    ------
    NoWarmKernelError
        If there is no process.
    """

    stdin = stdout = stderr = None

    def __init__(self, report: int) -> None:
        self._report, self._text = report, b""
        self.returncode: int | None = None
        self._read_until(1, time.monotonic() + _FORK)
        lines = self._lines()
        if not lines:
            os.close(report)
            raise NoWarmKernelError("the process that forks kernels does not answer")
        self.pid = lines[0]

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, None while the process lives."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when the process has ended.

        Raises
        ------
        subprocess.TimeoutExpired
            If it lives after ``timeout`` seconds.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0.0)
        return status

    def send_signal(self, signum: int) -> None:
        """Send a signal unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            ended = self._read_until(2, None if timeout is None else time.monotonic() + timeout)
            lines = self._lines()
            if len(lines) > 1:
                self.returncode = lines[1]
            elif ended:  # the zygote was killed, and the kernel with it
                self.returncode = -signal.SIGKILL
            if self.returncode is not None:
                os.close(self._report)
        return self.returncode

    def _read_until(self, lines: int, deadline: float | None) -> bool:
        """Read until so many lines are there or time is up; return whether the pipe has ended."""
        while self._text.count(b"\n") < lines:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._report], [], [], left)[0]:
                return False
            if not (text := os.read(self._report, 100)):
                return True
            self._text += text
        return False

    def _lines(self) -> list[int]:
        return [int(line) for line in self._text.split(b"\n")[:-1]]

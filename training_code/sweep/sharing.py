"""Parts of one fit as tasks for the idle cores of the cluster of a sweep, see `training_code.foundation.parts`."""

import os
import time
from collections.abc import Callable
from typing import Any, Generic

import psutil

from training_code.foundation import memory
from training_code.foundation.errors import InputError
from training_code.foundation.parts import EXECUTOR_VARIABLE, Done, Pending, Result
from training_code.sweep.connecting import own_handler_of_sigterm, start_ray

#: Environment variable with the address of the cluster.
CLUSTER_VARIABLE = "ANOMALY_CLUSTER"
# How often Ray does a part again whose worker was lost, before this process does it.
_RETRIES = 3
# How many times as long as the slowest part so far a part may be away when this process has nothing else to do.
_PATIENCE = 2.0


def sharing_environment(address: str) -> dict[str, str]:
    """Return the variables by which a process, a kernel for instance, shares parts with the cluster at an address."""
    return {EXECUTOR_VARIABLE: f"{__name__}:{OnCluster.__name__}", CLUSTER_VARIABLE: address}


class OnCluster:
    """Sends parts to idle cores of a cluster, as many as these are and the memory allows; this process does the others.

    What does not come back (all tries lost their worker, an error, no core is left because of other jobs), this process
    does in the end. So results are the same whatever becomes of the cluster.

    Parameters
    ----------
    ray
        The module, connected; None to connect to the cluster that the environment names, when the first part begins.
    """

    def __init__(self, ray: Any = None) -> None:
        self.elsewhere = 0
        self._ray, self._given = ray, ray is not None
        self._reachable = True
        self._away: list[_Away[Any]] = []
        self._cores = 0
        self._slowest = 0.0  # seconds of a part so far

    def begin(self, function: Callable[..., Result], arguments: tuple[Any, ...], held: int) -> Pending[Result]:
        """Send a part where there is room for it, or do it now."""
        self._away = [each for each in self._away if not each.done()]
        # This process must have room for another part, which comes while this one is away.
        fits = psutil.Process().memory_info().rss + 2 * held <= memory.allowed()
        if not fits or not self._connect() or len(self._away) >= self._idle_cores():
            return Done(self.do_here(function, arguments))
        part = _Away(self, function, arguments)
        self._away.append(part)
        return part

    def close(self) -> None:
        """Leave the cluster."""
        self._away = []
        if self._ray is not None and not self._given:
            self._ray.shutdown()
            self._ray = None

    def send(self, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Any:
        """Return Ray's reference to a part that is done elsewhere."""
        task = self._ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(function)
        return task.remote(*arguments)

    def came(self, reference: Any, seconds: float) -> bool:
        """Return whether a part comes back within so many seconds."""
        return bool(self._ray.wait([reference], timeout=seconds)[0])

    def fetch(self, part: "_Away[Result]") -> Result:
        """Return the result of a part that came back; where something went wrong, this process does it."""
        try:
            found: Result = self._ray.get(part.reference)
        except self._ray.exceptions.RayError:  # a part that is at fault itself will say so here
            return self.do_here(part.function, part.arguments)
        self._slowest = max(self._slowest, part.age)
        self.elsewhere += 1
        return found

    def settle(self, part: "_Away[Any]") -> None:
        """Wait for a part, and do those that take too long, the last ones first; this process has nothing else to do.

        As long as none has come back it is not known how long one takes, and nothing is waited for.
        """
        while not part.done() and not self.came(part.reference, max(0.0, _PATIENCE * self._slowest - part.age)):
            if waiting := [each for each in self._away if not each.done()]:
                self._ray.cancel(waiting[-1].reference)
                waiting[-1].give(self.do_here(waiting[-1].function, waiting[-1].arguments))

    def do_here(self, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        """Do a part."""
        begun = time.monotonic()
        found = function(*arguments)
        self._slowest = max(self._slowest, time.monotonic() - begun)
        return found

    def _connect(self) -> bool:
        """Return whether there is a cluster with idle cores; one that cannot be reached is told once."""
        if self._ray is None and self._reachable:
            # Here, since it takes 1.5 s, and most kernels share nothing.
            import ray

            try:
                with own_handler_of_sigterm():
                    start_ray(ray, os.environ[CLUSTER_VARIABLE], {"log_to_driver": False, "logging_level": "ERROR"})
                self._ray = ray
            except InputError as error:
                self._reachable = False
                print(f"this process does all parts: {error}")
        return self._ray is not None

    def _idle_cores(self) -> int:
        """Return how many cores no job had when no part was away: Ray tells with a delay which ones parts have."""
        if not self._away:
            self._cores = int(self._ray.available_resources().get("CPU", 0))
        return self._cores


class _Away(Generic[Result]):
    """A part that is done elsewhere; what it is made of is kept, since this process may have to do it."""

    def __init__(self, cluster: OnCluster, function: Callable[..., Result], arguments: tuple[Any, ...]) -> None:
        self._cluster, self.function, self.arguments = cluster, function, arguments
        self._sent = time.monotonic()
        self.reference = cluster.send(function, arguments)
        self._found: list[Result] = []

    @property
    def age(self) -> float:
        """Seconds since it was sent."""
        return time.monotonic() - self._sent

    def done(self) -> bool:
        """Return whether its result is there, and take it in where it came back."""
        if not self._found and self._cluster.came(self.reference, 0):
            self.give(self._cluster.fetch(self))
        return bool(self._found)

    def give(self, found: Result) -> None:
        """Take its result in, and let go of what it was made of."""
        self._found, self.arguments, self.reference = [found], (), None

    def result(self) -> Result:
        """Return its result."""
        self._cluster.settle(self)
        assert self.done()
        return self._found[0]

"""Where the work of a sweep is done: in this process one after the other, or side by side through Ray."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from training_code.foundation.errors import InputError
from training_code.foundation.hardware import has_gpu
from training_code.sweep.connecting import own_handler_of_sigterm, start_ray
from training_code.sweep.file import Resources
from training_code.sweep.sharing import sharing_environment
from training_code.sweep.work import Ended, Work

# Bytes of Ray's object store: objects are small, except runs that are sent back, which Ray may spill to disk.
_OBJECT_STORE = 100 * 2**20


class LostWorkerError(Exception):
    """The worker, or its machine, is gone: the work itself did not fail, and can be done elsewhere."""


@dataclass(frozen=True)
class Finished:
    """Finished work: how its runs ended, or the error that prevented a report."""

    work: Work
    ended: list[Ended]
    error: Exception | None = None


class Pool(Protocol):
    """Does work; `start` takes it as long as there is room, `wait` returns what has finished.

    Attributes
    ----------
    shared
        Whether the work is done where the results folders of this process are, on this machine.
    threads
        Cores for a piece of work; None for all.
    gpu
        Whether a piece of work has a GPU, or a part of one.
    """

    shared: bool
    threads: int | None
    gpu: bool

    def has_room(self) -> bool:
        """Return whether work can be started."""

    def start(self, work: Work) -> None:
        """Start work."""

    def wait(self, seconds: float) -> list[Finished]:
        """Return what has come to its end, after at most ``seconds``."""

    def close(self) -> None:
        """Stop whatever is being done."""


class InProcess(Pool):
    """Does one piece of work after the other, in this process: papermill and nothing else."""

    def __init__(self, resources: Resources) -> None:
        self.threads, self.shared, self.gpu = resources.cpus, True, has_gpu()
        self._finished: list[Finished] = []

    def has_room(self) -> bool:
        """Return whether work can be started."""
        return not self._finished

    def start(self, work: Work) -> None:
        """Do work; this returns when it has finished."""
        self._finished.append(_finish(work, lambda: _do_work(work, on_cluster=False)))

    def wait(self, seconds: float) -> list[Finished]:
        """Return what has come to its end."""
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        """Do nothing: no work runs in the background."""


class OnRay(Pool):
    """Does ``jobs`` pieces of work side by side through Ray.

    Parameters
    ----------
    jobs
        Pieces of work at the same time, on all machines together.
    resources
        Cores and GPUs for a piece; by default the cores are shared out, and each piece gets a GPU where there are any.
    address
        Of a cluster; None for this machine alone.

    Raises
    ------
    InputError
        If the cluster cannot be reached, or has no node on which a piece could ever run.
    """

    def __init__(self, jobs: int, resources: Resources, address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        # Here, since it reads what is set above, and takes 1.5 s, which sweeps of one job at a time go without.
        import ray

        self._ray, self.jobs, self.shared = ray, jobs, address is None
        self._running: dict[Any, Work] = {}
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            # Seconds for which starting workers look for Ray's processes after this process was killed.
            os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            cpus = max(cores, jobs * (resources.cpus or 1))
            options |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        with own_handler_of_sigterm():
            start_ray(ray, address, options)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores_of_nodes = [int(node.get("CPU", 0)) for node in nodes]
        self.threads = resources.cpus or max(1, min(sum(cores_of_nodes) // jobs, max(cores_of_nodes, default=1)))
        gpus = resources.gpus
        if gpus is None:
            gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
        if not any(node.get("CPU", 0) >= self.threads and node.get("GPU", 0) >= gpus for node in nodes):
            most = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
            self.close()
            raise InputError(f"no node has {self.threads} CPUs and {gpus:g} GPUs for a job; the nodes have {most}")
        # A lost worker is reported, not silently restarted: the scheduler knows its work.
        self.gpu = gpus > 0
        self._do = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=0)(_do_work)

    def has_room(self) -> bool:
        """Return whether work can be started."""
        return len(self._running) < self.jobs

    def start(self, work: Work) -> None:
        """Hand work to Ray."""
        self._running[self._do.remote(work, not self.shared)] = work

    def wait(self, seconds: float) -> list[Finished]:
        """Return what has come to its end, after at most ``seconds``."""
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        return [self._finish(reference) for reference in ready]

    def close(self) -> None:
        """Stop whatever is being done, and what Ray started on this machine for it."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def _finish(self, reference: Any) -> Finished:
        errors = self._ray.exceptions
        work = self._running.pop(reference)

        def get() -> list[Ended]:
            try:
                return self._ray.get(reference)
            except errors.RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from error
            except (errors.NodeDiedError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
                raise LostWorkerError("the worker was lost, with its machine or by a signal") from error
            except errors.RayError as error:  # for instance if Ray killed the worker for lack of memory
                raise LostWorkerError(str(error).splitlines()[0]) from error

        return _finish(work, get)


def _do_work(work: Work, on_cluster: bool) -> list[Ended]:
    # Here, since papermill takes 1.5 s to import, which a sweep goes without whose runs are all stored.
    from training_code.sweep.worker import do_work

    if not on_cluster:
        return do_work(work)
    import ray  # here, where it is loaded already: this is a worker of Ray

    return do_work(work, sharing_environment(ray.get_runtime_context().gcs_address))


def _finish(work: Work, do: Callable[[], list[Ended]]) -> Finished:
    try:
        return Finished(work, do())
    except Exception as error:  # any error, for instance a full disk: other work continues
        return Finished(work, [], error)


def make_pool(jobs: int, resources: Resources, address: str | None) -> Pool:
    """Return the pool for so many jobs at a time: without Ray where one is enough on this machine."""
    return InProcess(resources) if jobs == 1 and address is None else OnRay(jobs, resources, address)

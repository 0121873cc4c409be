"""The order in which jobs are run."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from training_code.sweep.estimate import Estimates
from training_code.sweep.job import Job


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Return jobs in an order in which shared results exist when they are needed.

    Jobs with the same backbone follow each other, and of coresets of the same features the largest comes first: the
    smaller ones are prefixes of it.
    """
    jobs = list(jobs)
    first: dict[Any, int] = {}

    def rank(*what: Any) -> int:
        return first.setdefault(what, len(first))

    keyed = []
    for number, job in enumerate(jobs):
        ratio = job.arguments.get("coreset_sampling_ratio") or 0.0 if job.prepared else 0.0
        data, detector = id(job.conditions), job.cell.detector
        keyed.append((rank(data), rank(data, job.backbone), rank(data, job.backbone, detector), -ratio, number))
    return [jobs[key[-1]] for key in sorted(keyed)]


def cheapest_first(jobs: Sequence[Job], estimates: Estimates) -> list[Job]:
    """Return jobs so that early ones are varied: the cheapest of each detector and backbone, then the next of each."""
    cost: Callable[[Job], float] = lambda job: estimates.seconds(job) or 0.0  # noqa: E731
    rounds: Counter[tuple] = Counter()
    keyed = []
    for number, job in enumerate(sorted(jobs, key=cost)):
        kind = job.conditions.dataset.folder, job.cell.detector, job.backbone
        keyed.append((rounds[kind], cost(job), number, job))
        rounds[kind] += 1
    return [job for *_, job in sorted(keyed, key=lambda entry: entry[:3])]


def in_bundles(jobs: Sequence[Job], group: str | None) -> list[list[Job]]:
    """Return jobs as they share kernels: each alone, or those of a notebook that share parameters and backbone."""
    if group is None:
        return [[job] for job in jobs]
    bundles: dict[tuple, list[Job]] = {}
    for job in jobs:
        shared = job.notebook.path, repr(sorted(job.parameters.items())), job.backbone
        bundles.setdefault(shared, []).append(job)
    return list(bundles.values())

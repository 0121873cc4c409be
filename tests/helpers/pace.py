"""A plugin of pytest that keeps the marker ``slow`` true: a test without it must not take more than 2 seconds.

`make check` runs what is not slow. Tests in the folders of `TRAINING` train, run networks or start kernels, and are
slow for that. Elsewhere a test that takes longer fails until it is made faster or marked. Fixtures and imports do not
count. A machine may be several times slower for minutes, as virtual ones are that share memory: a known piece of work
is done after a test that took too long, and the limit grows as that does. A run of the whole suite says whether the
code is right, on machines that others may use at the same time: there a test fails only where it takes `GROSS` times
as long.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT = 2.0  # seconds
GROSS = 3
PIECE = 0.09  # seconds that `_slowness` works on an idle machine, of the kind for which LIMIT was set
TESTS = Path(__file__).parents[1]
TRAINING = (
    TESTS / "end_to_end",
    TESTS / "notebooks",
    TESTS / "unit" / "detectors",
    TESTS / "unit" / "features",
)
PRESSURE = Path("/proc/pressure/cpu")  # of Linux


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what trains."""
    for item in items:
        if any(folder in item.path.parents for folder in TRAINING):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passes but takes too long, unless somebody debugs it."""
    before = _read_clocks()
    yield
    taken = _seconds(*(after - start for start, after in zip(before, _read_clocks(), strict=True)))
    limit = LIMIT if item.config.option.markexpr else GROSS * LIMIT
    if taken <= limit or item.get_closest_marker("slow") or item.config.option.usepdb:
        return
    if taken > limit * _slowness():
        pytest.fail(
            f"took {taken:.1f} s, more than the {LIMIT:.0f} s of a test that is not marked slow: make it faster or "
            "mark it @pytest.mark.slow, which takes it out of make check",
            pytrace=False,
        )


def _seconds(wall: float, processor: float, contended: float) -> float:
    """Return how long a test would have taken on an idle machine.

    It waits for other programs in part of the ``contended`` time at most; its ``processor`` time was spent for it
    in any case, though threads may have spent it at once.
    """
    return max(min(wall, processor), wall - contended)


def _slowness() -> float:
    """Return how many times slower than an idle one this machine is at present, and at least 1."""
    begun = time.process_time()
    dict.fromkeys(str(number) for number in range(200_000))  # objects and memory, as most tests make them
    return max(1.0, (time.process_time() - begun) / PIECE)


def _read_clocks() -> tuple[float, float, float]:
    """Return the clock, the processor time of this process and its ended children, and the contended time."""
    wall = time.monotonic()
    # The first line: some avg10=0.00 avg60=0.00 avg300=0.00 total=123, in microseconds. Elsewhere than on Linux
    # the clock itself stands in, so that processor time alone decides.
    contended = int(PRESSURE.read_text().split()[4].partition("=")[2]) / 1e6 if PRESSURE.exists() else wall
    return wall, sum(os.times()[:4]), contended

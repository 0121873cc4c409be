"""Batches come in order, from threads that end when nobody takes them any more."""

import threading
import time

import pytest

from inference_code.batches import Batches
from training_code.foundation.errors import InputError


def _slow_first(item):
    time.sleep(0.02 if item % 3 == 0 else 0)
    if item == 4:
        raise InputError("four")
    return item * 10


def test_items_stay_in_order_and_an_error_takes_its_place():
    batches = [list(batch) for batch in Batches(range(10), _slow_first, 4)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    flat = [(item, made) for batch in batches for item, made, _ in batch]
    assert [item for item, _ in flat] == list(range(10))
    assert str(flat[4][1]) == "four"
    assert [made for item, made in flat if item != 4] == [item * 10 for item in range(10) if item != 4]


def test_no_more_than_two_batches_are_ahead():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    batches = iter(Batches(items(), lambda item: item, 3))
    next(batches)
    time.sleep(0.3)
    assert len(taken) <= 3 + 6 + 1
    batches.close()


def test_threads_end_when_the_rest_is_not_wanted():
    before = threading.active_count()
    batches = iter(Batches(iter(int, 1), lambda item: item, 2))
    next(batches)
    batches.close()
    for _ in range(50):
        if threading.active_count() <= before:
            return
        time.sleep(0.1)
    raise AssertionError([thread.name for thread in threading.enumerate()])


def test_what_the_source_raises_is_raised_after_what_came_before():
    def items():
        yield 1
        raise OSError("gone")

    found = []
    with pytest.raises(OSError, match="gone"):
        for batch in Batches(items(), lambda item: item, 1):
            found += [item for item, _, _ in batch]
    assert found == [1]


def test_without_filling_what_is_ready_is_taken_at_once():
    more = threading.Event()

    def items():
        yield 1
        more.wait(5)
        yield 2

    batches = iter(Batches(items(), lambda item: item, 8, fill=False))
    start = time.monotonic()
    assert [item for item, _, _ in next(batches)] == [1]
    assert time.monotonic() - start < 2
    more.set()
    assert [item for item, _, _ in next(batches)] == [2]
    assert next(batches, None) is None


def test_frames_that_come_too_fast_are_dropped_and_not_delayed():
    def frames():
        for number in range(100):
            time.sleep(0.005)
            yield number

    batches = Batches(frames(), lambda item: item, 1, fill=False, drop_after=0.05)
    taken = []
    for batch in batches:
        (entry,) = batch
        assert time.monotonic() - entry[2] <= 0.05 + 0.04
        taken.append(entry[0])
        time.sleep(0.04)  # a detector that does 25 a second, of frames that come at 200 a second
    assert len(taken) + batches.dropped == 100
    assert batches.dropped > 50 and taken == sorted(taken)


def test_without_dropping_nothing_is_lost():
    batches = Batches(range(50), lambda item: item, 1, fill=False)
    taken = []
    for batch in batches:
        taken += [item for item, _, _ in batch]
        time.sleep(0.002)
    assert taken == list(range(50)) and batches.dropped == 0

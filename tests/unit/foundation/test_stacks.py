"""Maps and masks that do not fit into memory are the same in a file."""

import errno
import os

import numpy as np
import pytest

from training_code.foundation import stacks
from training_code.foundation.memory import allowing
from training_code.foundation.stacks import Filling, Stack, blank, chunks, joined, stacked

IMAGES = np.arange(7 * 3 * 4, dtype=np.float32).reshape(7, 3, 4)


@pytest.fixture
def scratch(tmp_path):
    """A folder for what does not fit, which is everything."""
    with allowing(1, tmp_path):
        yield tmp_path


def test_what_fits_is_an_array():
    with allowing(int(IMAGES.nbytes / stacks.PART)):
        assert isinstance(stacked(7, IMAGES), np.ndarray)
    with allowing(int(IMAGES.nbytes / stacks.PART) - 1):
        assert isinstance(stacked(7, IMAGES), Stack)


def test_images_of_a_file_are_those_that_were_put_in(scratch):
    found = stacked(7, IMAGES)
    assert found.shape == IMAGES.shape and found.dtype == np.float32 and len(found) == 7
    np.testing.assert_array_equal(np.asarray(found), IMAGES)
    np.testing.assert_array_equal(found[-2], IMAGES[-2])
    assert all(np.array_equal(one, other) for one, other in zip(found, IMAGES, strict=True))


def test_images_may_come_in_any_order(scratch):
    filling = Filling(7)
    filling.put(IMAGES[[5, 0, 6]], [5, 0, 6])
    filling.put(IMAGES[1:5], [1, 2, 3, 4])
    np.testing.assert_array_equal(np.asarray(filling.done()), IMAGES)


@pytest.mark.parametrize("chosen", [slice(1, 6, 2), [6, 0, 0, 1], np.arange(7) % 3 == 0, slice(0)], ids=str)
def test_a_part_of_a_file_is_that_of_an_array(scratch, chosen):
    part = stacked(7, IMAGES)[chosen]
    assert isinstance(part, Stack)
    np.testing.assert_array_equal(np.asarray(part), IMAGES[chosen])
    np.testing.assert_array_equal(np.asarray(part[::-1]), IMAGES[chosen][::-1])


def test_stacks_in_files_and_in_memory_are_joined_in_their_order(scratch):
    both = joined([stacked(7, IMAGES)[4:], IMAGES[:2], stacked(7, -IMAGES), blank((2, 3, 4), np.float32)])
    expected = np.concatenate([IMAGES[4:], IMAGES[:2], -IMAGES, np.zeros((2, 3, 4))])
    np.testing.assert_array_equal(np.asarray(both), expected)
    np.testing.assert_array_equal(np.asarray(both[[13, 1, 3]]), expected[[13, 1, 3]])


def test_chunks_hold_the_same_images_of_each_stack(scratch, monkeypatch):
    monkeypatch.setattr(stacks, "CHUNK", 3 * IMAGES[0].nbytes)
    found = list(chunks(stacked(7, IMAGES), IMAGES > 40))
    assert [len(values) for values, _ in found] == [3, 3, 1]
    assert all(np.array_equal(values > 40, above) for values, above in found)


def test_any_and_all_are_those_of_numpy(scratch):
    some, none, every = (stacked(2, np.full((2, 2, 2), value)) for value in (False, False, True))
    some = joined([some, every])
    assert (some.any(), some.all(), none.any(), every.all()) == (True, False, False, True)


def test_no_file_is_left_behind_and_none_is_seen_while_it_is_used(scratch):
    found = stacked(7, IMAGES)
    assert not list(scratch.iterdir()) and found[3].sum() == IMAGES[3].sum()


def test_a_disk_that_is_or_gets_full_is_told_in_one_sentence_with_what_helps(scratch, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    expected = f"{scratch} has no room for 0 MiB of maps, .*: make room, or raise memory_limit"
    with monkeypatch.context() as patch, pytest.raises(OSError, match=expected):
        patch.setattr(os, "pwrite", full)
        stacked(7, IMAGES)
    monkeypatch.setattr("training_code.foundation.scratch.free_space", lambda folder: 1)
    with pytest.raises(OSError, match=expected):
        stacked(7, IMAGES)

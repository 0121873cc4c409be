"""Features that are put together and read again by positions, from memory or from a file."""

import errno
import os
import tempfile

import pytest
import torch

from training_code.features.collected import Collected, blocks
from training_code.foundation.memory import POSITIONS_AT_ONCE, allowing

HEIGHT, WIDTH = 13, 11  # 143 positions: two whole blocks and a part of one


def _batches(count=3, images=4, channels=5):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images + number, channels, HEIGHT, WIDTH, generator=generator) for number in range(count)]


def test_little_stays_in_memory_and_is_read_at_once():
    batches = _batches()
    features = Collected(batches)
    assert (features.images, features.shape, features.in_file, len(features)) == (15, (5, 13, 11), False, 3)
    assert [*blocks(features)] == [slice(0, 143)]
    assert all(torch.equal(one, two.flatten(2)) for one, two in zip(features.read(slice(0, 143)), batches, strict=True))


def test_what_exceeds_a_part_of_the_memory_lies_in_a_file_and_reads_the_same_to_16_bits():
    batches = _batches()
    with allowing(sum(batch.nbytes for batch in batches[:2])):  # a quarter of it holds no batch
        features = Collected(batches)
    assert features.in_file and len(features) == 3
    parts = [*blocks(features)]
    assert [part.stop - part.start for part in parts] == [POSITIONS_AT_ONCE, POSITIONS_AT_ONCE, 15]
    for part in parts:
        for one, two in zip(features.read(part), batches, strict=True):
            assert one.dtype == torch.float32 and torch.equal(one, two.flatten(2)[:, :, part].half().float())


def test_one_in_a_file_and_one_in_memory_are_read_by_the_same_parts():
    batches = _batches()
    with allowing(batches[0].nbytes):
        stored = Collected(batches)
    few = Collected(batches[:1])
    assert stored.in_file and not few.in_file
    parts = [*blocks(few, stored)]
    assert len(parts) == 3
    assert torch.equal(torch.cat([few.read(part)[0] for part in parts], 2), batches[0].flatten(2))


def test_a_feature_that_16_bits_cannot_hold_is_an_error_and_no_infinity():
    batches = _batches()
    batches[1][0, 0, 0, 0] = 1e5
    with allowing(batches[0].nbytes), pytest.raises(OverflowError, match="1e[+]05, above 32768"):
        Collected(batches)


def test_a_disk_that_gets_full_is_told_in_one_sentence_with_what_helps(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    batches = _batches()
    expected = f"{tmp_path} has no room for 0 MiB of features, .*: make room, or raise memory_limit"
    with allowing(batches[0].nbytes, tmp_path), pytest.raises(OSError, match=expected):
        Collected(batches)


def test_the_file_lies_in_the_folder_of_the_run_without_a_name(tmp_path, monkeypatch):
    folders = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir, **how: folders.append(dir) or make(dir=dir, **how))
    batches = _batches()
    with allowing(batches[0].nbytes, tmp_path):
        stored = Collected(batches)
    assert stored.in_file and folders == [tmp_path] and not list(tmp_path.iterdir())

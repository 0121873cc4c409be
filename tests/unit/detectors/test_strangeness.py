"""How strange images are to the others of a training set."""

import torch

from training_code.detectors.patchcore import strangeness as module
from training_code.detectors.patchcore.strangeness import (
    LEAST_ROWS,
    PAIRS,
    Memory,
    draw_memory,
    memory_rows,
    strangeness,
)


def test_a_patch_is_compared_with_those_of_other_groups_alone():
    patches = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [1.0, 0.5], [0.0, 3.0], [7.0, 0.0]])
    groups = torch.tensor([5, 5, 2])
    memory = Memory(patches, groups.repeat_interleave(2))
    found = [distances.tolist() for _, distances in strangeness([patches[:4], patches[4:]], groups, 2, memory)]
    # The first two images are of one part: they are compared with the third alone, which is compared with them.
    assert torch.tensor(found[:2]).allclose(torch.tensor([[3.0, 10**0.5], [2.5, (1 + 2.5**2) ** 0.5]]))
    assert torch.tensor(found[2]).allclose(torch.tensor([2.5, 6.0]))


def test_the_memory_is_bounded_and_no_image_has_more_in_it_than_another(monkeypatch):
    assert memory_rows(10, 1024) == 10 * 1024
    assert memory_rows(1000, 1024) == LEAST_ROWS and 90 * 1024 > memory_rows(90, 1024) == PAIRS // (90 * 1024)
    monkeypatch.setattr(module, "LEAST_ROWS", 10)
    monkeypatch.setattr(module, "PAIRS", 1)
    patches, groups = torch.arange(4 * 25.0)[:, None], torch.arange(4)
    memory = draw_memory([patches[:50], patches[50:]], groups, 25, seed=0)
    assert sorted(memory.groups.bincount().tolist()) == [2, 2, 3, 3]
    assert (memory.rows[:, 0] // 25).tolist() == memory.groups.tolist() and len(memory.rows.unique()) == 10
    again = draw_memory([patches], groups, 25, seed=0)
    assert again.rows.equal(memory.rows), "batches decide nothing"

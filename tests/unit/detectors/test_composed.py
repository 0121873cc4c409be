"""A coreset that is composed of parts: what it selects, how far patches are from it, and what it costs."""

import math

import pytest
import torch

from training_code.detectors.patchcore import composed
from training_code.detectors.patchcore.composed import PatchParts
from training_code.detectors.patchcore.coreset import k_center_greedy
from training_code.detectors.patchcore.spec import LEAST_PARTS, PART_BYTES, SURPLUS, images_of_a_part, selected
from training_code.foundation.cache import TensorCache

IMAGES, PATCHES, DIMENSIONS = 32, 49, 6


def _as_they_are(count, dimensions, device):
    return lambda patches: patches


def _patches(seed=0):
    """Patches of images that have a few things in common, and something of their own."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(12, DIMENSIONS, generator=generator) * 3
    chosen = torch.randint(12, (IMAGES * PATCHES,), generator=generator)
    return kinds[chosen] + torch.randn(IMAGES * PATCHES, DIMENSIONS, generator=generator)


def _composed(patches, ratio=0.1, batch=5, **more):
    parts = PatchParts(IMAGES, lambda count: selected(ratio, None, count), _as_they_are, **more)
    for images in patches.split(batch * PATCHES):
        parts.append(images, PATCHES)
    return parts.compose()


def test_it_is_the_selection_among_what_was_selected_within_parts():
    patches = _patches()
    found = _composed(patches)
    rows = IMAGES // LEAST_PARTS * PATCHES
    parts = patches.split(rows)
    each = [part[k_center_greedy(part, math.ceil(SURPLUS * 156 * rows / len(patches))).order] for part in parts]
    candidates = torch.cat(each)
    assert torch.equal(found.rows, candidates[k_center_greedy(candidates, 156).order])
    assert (found.patches, found.parts, found.candidates) == (1568, 8, len(candidates))


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_batches_do_not_matter(batch):
    assert torch.equal(_composed(_patches(), batch=batch).rows, _composed(_patches()).rows)


@pytest.mark.parametrize("seed", range(4))
def test_no_patch_is_farther_from_it_than_is_recorded_and_it_is_hardly_worse_than_the_exact_one(seed):
    patches = _patches(seed)
    described = _composed(patches).describe()
    rows = _composed(patches).rows
    farthest = float(torch.cdist(patches.double(), rows.double()).amin(1).max())
    assert farthest <= described["radius"] * (1 + 1e-12)
    assert described["radius"] == described["within_parts"] + described["among_candidates"]
    assert farthest <= 1.3 * k_center_greedy(patches, len(rows)).radius, "of patches without any structure"


def test_selections_of_parts_are_shared_and_may_come_from_elsewhere(tmp_path, monkeypatch):
    patches, cache = _patches(), TensorCache(tmp_path)
    expected = _composed(patches, cache=cache).rows
    begun = []

    class Later:
        def __init__(self, features, count):
            self.work = features, count

        def result(self):
            return k_center_greedy(*self.work)

    def select(features, count):
        begun.append(len(features))
        return Later(features, count)

    assert torch.equal(_composed(patches, select=select).rows, expected)
    assert begun == [196] * 8
    monkeypatch.setattr("training_code.detectors.patchcore.coreset.k_center_greedy", None)
    assert torch.equal(_composed(patches, cache=cache).rows, expected), "nothing is selected any more"


def test_few_patches_are_selected_whole():
    found = _composed(_patches(), ratio=1.0)
    assert len(found.rows) == IMAGES * PATCHES and found.describe()["radius"] == 0


def test_parts_are_bounded_and_there_are_several():
    assert images_of_a_part(1350, 64 * 64, 1536) == PART_BYTES // (4 * 64 * 64 * 1536) == 42
    assert images_of_a_part(40, 28 * 28, 100) == 5
    assert images_of_a_part(3, 28 * 28, 100) == 1


def test_only_a_part_and_the_candidates_are_in_memory(monkeypatch):
    alive = []
    begin = composed.PatchParts._begin

    def watched(self, part):
        begin(self, part)
        alive.append(sum(len(each) for each in (*self._waiting, *self._candidates)))

    monkeypatch.setattr(composed.PatchParts, "_begin", watched)
    _composed(_patches(), ratio=0.01, batch=1)
    assert max(alive) <= 8 * 4 and len(alive) == 8

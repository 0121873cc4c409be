"""A coreset that is composed of parts: what it selects, how far patches are from it, and what it costs."""

import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel

from training_code.detectors.patchcore import composed
from training_code.detectors.patchcore.composed import PatchParts
from training_code.detectors.patchcore.coreset import k_center_greedy
from training_code.detectors.patchcore.layered import features_of, layered
from training_code.detectors.patchcore.spec import LEAST_PARTS, PART_BYTES, images_of_a_part, selected, surplus
from training_code.foundation.cache import TensorCache

IMAGES, SIZE, DIMENSIONS = 32, (7, 7), 6
PATCHES = math.prod(SIZE)


def _as_they_are(count, dimensions, device):
    return None


def _patches(seed=0):
    """Patches of images that have a few things in common, and something of their own."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(12, DIMENSIONS, generator=generator) * 3
    chosen = torch.randint(12, (IMAGES * PATCHES,), generator=generator)
    return kinds[chosen] + torch.randn(IMAGES * PATCHES, DIMENSIONS, generator=generator)


def _composed(patches, ratio=0.1, batch=5, **more):
    parts = PatchParts(IMAGES, lambda count: selected(ratio, None, count), _as_they_are, **more)
    maps = patches.view(IMAGES, *SIZE, DIMENSIONS).permute(0, 3, 1, 2)
    for images in maps.split(batch):
        parts.append(layered([images]))
    return parts.compose()


@pytest.mark.parametrize(("ratio", "coreset", "times"), [(0.1, 156, 1.5), (0.03, 47, 196 / 47), (0.01, 15, 8)])
def test_it_is_the_selection_among_what_was_selected_within_parts(ratio, coreset, times):
    patches = _patches()
    found = _composed(patches, ratio)
    rows = IMAGES // LEAST_PARTS * PATCHES
    assert surplus(len(patches), rows, coreset, DIMENSIONS) == times
    parts = patches.split(rows)
    each = [part[k_center_greedy(part, math.ceil(times * coreset * rows / len(patches))).order] for part in parts]
    candidates = torch.cat(each)
    assert torch.equal(found.rows, candidates[k_center_greedy(candidates, coreset).order])
    assert (found.patches, found.parts, found.candidates) == (1568, 8, len(candidates))


@pytest.mark.parametrize("projected", [DIMENSIONS, 3])
def test_as_many_candidates_are_selected_as_time_allows(monkeypatch, projected):
    # For three times the coreset of 15 points.
    monkeypatch.setattr("training_code.detectors.patchcore.spec.FOR_CANDIDATES", 3 * 15 * projected * (196 + 15))
    matrix = None if projected == DIMENSIONS else torch.eye(projected, DIMENSIONS)
    parts = PatchParts(IMAGES, lambda count: selected(0.01, None, count), lambda *_: matrix)
    parts.append(layered([_patches().view(IMAGES, *SIZE, DIMENSIONS).permute(0, 3, 1, 2)]))
    assert parts.compose().candidates == 8 * math.ceil(3 * 15 / 8)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_batches_do_not_matter(batch):
    assert torch.equal(_composed(_patches(), batch=batch).rows, _composed(_patches()).rows)


@pytest.mark.parametrize("seed", range(4))
def test_no_patch_is_farther_from_it_than_is_recorded_and_it_is_not_much_worse_than_the_exact_one(seed):
    patches = _patches(seed)
    described = _composed(patches).describe()
    rows = _composed(patches).rows
    farthest = float(torch.cdist(patches.double(), rows.double()).amin(1).max())
    assert farthest <= described["radius"] * (1 + 1e-12)
    assert described["radius"] == described["within_parts"] + described["among_candidates"]
    assert farthest <= 1.35 * k_center_greedy(patches, len(rows)).radius, "of patches without any structure"


def test_selections_of_parts_are_shared_and_may_come_from_elsewhere(tmp_path, monkeypatch):
    patches, cache = _patches(), TensorCache(tmp_path)
    expected = _composed(patches, cache=cache).rows

    class Elsewhere:
        """Has the result of every third part at once; others are not there before they are asked for."""

        def __init__(self):
            self.elsewhere, self.begun, self.held, self.closed = 0, [], [], False

        def begin(self, function, arguments, held):
            self.begun.append((function, pickle.loads(pickle.dumps(arguments))))
            self.held.append(held)
            number = len(self.begun) - 1
            return SimpleNamespace(done=lambda: number % 3 == 1, result=lambda: self.do(number))

        def do(self, number):
            self.elsewhere += 1
            function, arguments = self.begun[number]
            return function(*arguments)

        def close(self):
            self.closed = True

    elsewhere = Elsewhere()
    found = _composed(patches, executor=elsewhere)
    assert torch.equal(found.rows, expected) and found.describe()["parts_elsewhere"] == 8 and elsewhere.closed
    assert elsewhere.held == [3 * 4 * 196 * DIMENSIONS] * 8, "maps, and features here and on their way"
    for module in ("coreset", "composed"):
        monkeypatch.setattr(f"training_code.detectors.patchcore.{module}.k_center_greedy", None)
    assert torch.equal(_composed(patches, cache=cache).rows, expected), "nothing is selected any more"


def test_few_patches_are_selected_whole():
    found = _composed(_patches(), ratio=1.0)
    assert len(found.rows) == IMAGES * PATCHES and found.describe()["radius"] == 0


def test_parts_are_bounded_and_there_are_several():
    assert images_of_a_part(1350, 64 * 64, 1536) == PART_BYTES // (4 * 64 * 64 * 1536) == 21
    assert images_of_a_part(40, 28 * 28, 100) == 5
    assert images_of_a_part(3, 28 * 28, 100) == 1


def test_only_a_part_and_the_candidates_are_in_memory(monkeypatch):
    alive = []
    begin = composed.PatchParts._begin

    def watched(self):
        begin(self)
        alive.append(sum(len(each) for each in (*self._waiting, *(rows for rows, *_ in self._chosen.values()))))

    monkeypatch.setattr(composed.PatchParts, "_begin", watched)
    _composed(_patches(), ratio=0.03, batch=1)
    assert max(alive) <= 196 + 8 and len(alive) == 8, (
        "no more candidates than a part has patches, and what is rounded up"
    )


def test_it_is_known_which_patches_were_selected_and_those_of_the_first_images_are_kept():
    patches = _patches()
    found = _composed(patches)
    assert torch.equal(found.rows, patches[found.order])
    assert len(found.first) == 4 * PATCHES and torch.equal(found.first, patches[: 4 * PATCHES]), "the whole first part"


# Of the maps of each layer.
SIZES = [[(8, 8), (4, 4)], [(9, 6), (5, 3), (2, 2)], [(6, 6), (6, 6)], [(4, 4), (8, 8)], [(5, 5)]]


@pytest.mark.parametrize("sizes", SIZES)
def test_patches_that_are_made_when_asked_for_are_those_of_anomalib(sizes):
    generator = torch.Generator().manual_seed(1)
    maps = {f"{number}": torch.randn(3, 4 + number, *size, generator=generator) for number, size in enumerate(sizes)}
    model = SimpleNamespace(layers=list(maps))
    expected = PatchcoreModel.reshape_embedding(PatchcoreModel.generate_embedding(model, maps))
    patches = layered(list(maps.values()))
    assert (len(patches), patches.dimensions, patches.per_image) == (*expected.shape, math.prod(sizes[0]))
    assert torch.equal(features_of([patches], None), expected)
    order = torch.randperm(len(expected), generator=generator)
    torch.testing.assert_close(patches.rows(order), expected[order], rtol=1e-5, atol=1e-6)
    matrix = torch.randn(10, patches.dimensions, generator=generator)
    projected = features_of([patches], matrix)
    torch.testing.assert_close(projected, expected @ matrix.T, rtol=1e-5, atol=1e-5)
    assert torch.equal(features_of([patches.images(1)], matrix), projected[patches.per_image :])
    assert torch.equal(features_of([patches.images(0, 1), patches.images(1)], matrix), projected), "in any batches"
    assert torch.equal(patches.images(1, 2).rows(order[:0]), expected[:0])

"""A coreset that is composed: selected within parts of the patches while these come, then among what was selected.

Malkomes, Kusner, Chen, Weinberger and Moseley, "Fast Distributed k-Center Clustering with Outliers on Massive Data",
NeurIPS 2015: greedy selection within each part, and once more among the points that were selected. A patch lies no
farther from the coreset than from its nearest candidate, and this one from the coreset: the largest distance is at most
the sum of that within the parts and that among the candidates. With as many candidates of each part as the coreset has
points, that sum is at most four times what is possible. Where that would take long or be many, a part gives fewer, see
`surplus`, and the sum is recorded. How much larger the distance is than that of the exact selection was measured, see
docs/scale.md.

Neither the patches nor their projections are ever in memory at once: one part is, and the candidates.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training_code.detectors.patchcore.coreset import (
    Selection,
    k_center_greedy,
    keep_selection,
    known_selection,
    selection_key,
    shared_k_center_greedy,
)
from training_code.detectors.patchcore.layered import LayeredPatches, features_of
from training_code.detectors.patchcore.search import HELD_OUT
from training_code.detectors.patchcore.spec import images_of_a_part, surplus
from training_code.foundation.cache import TensorCache
from training_code.foundation.parts import Done, Executor, InThisProcess, Pending


@dataclass(frozen=True)
class Composed:
    """A composed coreset.

    Attributes
    ----------
    rows
        Shape (n, dimensions), in the order of selection.
    order
        Which of the patches they are, in the order in which these came, shape (n,).
    first
        The patches of the first images, by which a search among the rows can be measured.
    patches, parts
        How many patches and parts there were.
    candidates
        How many points were selected within them.
    elsewhere
        From how many parts another process selected.
    within, among
        The largest distance of a patch to the nearest candidate of its part, and of a candidate to the coreset, between
        the features that the selection goes by.
    """

    rows: torch.Tensor
    order: torch.Tensor
    first: torch.Tensor
    patches: int
    parts: int
    candidates: int
    elsewhere: int
    within: float
    among: float

    def describe(self) -> dict[str, Any]:
        """Return how it was selected as plain data; no patch is farther from it than ``radius``."""
        radii = {"radius": self.within + self.among, "within_parts": self.within, "among_candidates": self.among}
        counts = {"patches": self.patches, "parts": self.parts, "candidates": self.candidates}
        return {"coreset": "composed", **counts, "parts_elsewhere": self.elsewhere, **radii}


def select_part(
    rows: np.ndarray, count: int, known: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return order and radii of `k_center_greedy` on rows of float32, as arrays that processes can send each other.

    Parameters
    ----------
    rows
        Shape (n, dimensions).
    count
        How many of them are selected, the first one first.
    known
        Order and radii of a shorter selection, if there is one.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        features = torch.from_numpy(rows)
    return _arrays(k_center_greedy(features, count, 0, None if known is None else _selection(*known)))


#: Patches of the first images that are kept: of half of these a search is measured.
MEASURED = 4 * HELD_OUT


@dataclass(frozen=True)
class _Part:
    """A part that points are selected from: its patches, the features that this goes by, the key to keep it under."""

    number: int
    patches: list[LayeredPatches]
    features: torch.Tensor
    pending: Pending[Any]
    key: str | None


class PatchParts:
    """Takes the patches of training images as they come, and selects from each part as soon as it is complete.

    Parameters
    ----------
    images
        How many images will come; those of one part come one after the other.
    selected
        Returns how many of so many patches the coreset has.
    projection
        Given the patches of a part, their dimensions and device, returns the matrix that projects them to what the
        selection goes by, see `features_of`; None for the patches themselves.
    cache
        Where selections are shared; None for none.
    executor
        Selects from the parts, those that are not on a GPU; None for this process.
    """

    def __init__(
        self,
        images: int,
        selected: Callable[[int], int],
        projection: Callable[[int, int, torch.device], torch.Tensor | None],
        cache: TensorCache | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.images = images
        self._selected, self._projection = selected, projection
        self._cache = cache
        self._executor = executor or InThisProcess()
        self._waiting: list[LayeredPatches] = []
        self._parts = 0
        self._pending: list[_Part] = []
        # Of each part: patches, their features, and which of all patches they are.
        self._chosen: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        self._within = 0.0
        self._each = self._size = self._came = 0
        self._candidates = 0.0

    def append(self, patches: LayeredPatches) -> None:
        """Take the patches of some images."""
        if not self._each:
            self._each = patches.per_image
            self._size = self._each * images_of_a_part(self.images, self._each, patches.dimensions)
            self._matrix = self._projection(self._size, patches.dimensions, patches.device)
            compared = patches.dimensions if self._matrix is None else len(self._matrix)
            number = self.images * self._each
            self._candidates = surplus(number, self._size, self._selected(number), compared) * self._selected(number)
        self._came += len(patches)
        while patches:
            missing = (self._size - sum(map(len, self._waiting))) // self._each
            self._waiting.append(patches.images(0, missing))
            patches = patches.images(missing)
            if sum(map(len, self._waiting)) == self._size:
                self._begin()

    def compose(self) -> Composed:
        """Return the coreset of the patches that came."""
        if self._waiting:
            self._begin()
        try:
            while self._pending:
                self._collect(self._pending.pop(0))
        finally:
            self._executor.close()
        in_order = [self._chosen.pop(number) for number in range(self._parts)]
        candidates, features, places = (torch.cat(each) for each in zip(*in_order, strict=True))
        del in_order
        count = min(self._selected(self.images * self._each), len(features))
        found = shared_k_center_greedy(features, count, 0, self._cache)
        rows, order = candidates[found.order.to(candidates.device)], places[found.order]
        counts = self._came, self._parts, len(features), self._executor.elsewhere
        return Composed(rows, order, self._first, *counts, self._within, found.radius)

    def _begin(self) -> None:
        """Begin to select from the images that wait, which are a part."""
        patches, self._waiting = self._waiting, []
        features = features_of(patches, self._matrix)
        if not self._parts:
            first = torch.arange(min(len(features), self._each * math.ceil(MEASURED / self._each)))
            self._first = _rows(patches, first)
        count = min(len(features), math.ceil(self._candidates * len(features) / (self.images * self._each)))
        self._pending.append(self._select(patches, features, count))
        self._parts += 1
        for part in [each for each in self._pending if each.pending.done()]:
            self._collect(part)
        self._pending = [each for each in self._pending if each.number not in self._chosen]

    def _select(self, patches: list[LayeredPatches], features: torch.Tensor, count: int) -> _Part:
        if features.device.type != "cpu":  # a GPU has selected before the part would have been sent
            found = shared_k_center_greedy(features, count, 0, self._cache)
            return _Part(self._parts, patches, features, Done(_arrays(found)), None)
        key = None if self._cache is None else selection_key(features, 0)
        shorter = None if key is None or self._cache is None else known_selection(self._cache, key)
        if shorter is not None and len(shorter) >= count:
            return _Part(self._parts, patches, features, Done(_arrays(shorter.first(count))), None)
        # The features are here and, on their way, a second time.
        held = sum(each.nbytes for each in patches) + 2 * features.nbytes
        arguments = (features.numpy(), count, None if shorter is None else _arrays(shorter))
        return _Part(self._parts, patches, features, self._executor.begin(select_part, arguments, held), key)

    def _collect(self, part: _Part) -> None:
        """Take in what is selected from a part, and let go of the rest of it."""
        found = _selection(*part.pending.result())
        if self._cache is not None and part.key is not None:
            keep_selection(self._cache, part.key, found)
        features = part.features[found.order.to(part.features.device)]
        places = part.number * self._size + found.order
        self._chosen[part.number] = _rows(part.patches, found.order), features, places
        self._within = max(self._within, found.radius)


def _rows(patches: list[LayeredPatches], places: torch.Tensor) -> torch.Tensor:
    """Return patches by their places in a part, which may lie in several batches."""
    begins = torch.tensor([0, *map(len, patches)]).cumsum(0)
    batch = torch.searchsorted(begins, places, right=True) - 1
    rows = None
    for number in batch.unique().tolist():
        own = (batch == number).nonzero().flatten()
        found = patches[number].rows((places[own] - begins[number]).to(patches[number].device))
        rows = found.new_empty(len(places), found.shape[1]) if rows is None else rows
        rows[own.to(rows.device)] = found
    assert rows is not None
    return rows


def _arrays(selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    return selection.order.numpy(), selection.radii.numpy()


def _selection(order: np.ndarray, radii: np.ndarray) -> Selection:
    """Return a selection that owns its numbers: what another process sends cannot be written to."""
    return Selection(torch.from_numpy(order.copy()), torch.from_numpy(radii.copy()))

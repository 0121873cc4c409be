"""A coreset that is composed: selected within parts of the patches while these come, then among what was selected.

Malkomes, Kusner, Chen, Weinberger and Moseley, "Fast Distributed k-Center Clustering with Outliers on Massive Data",
NeurIPS 2015: greedy selection within each part, and once more among the points that were selected. A patch lies no
farther from the coreset than from its nearest candidate, and this one from the coreset: the largest distance is at most
the sum of that within the parts and that among the candidates. With as many candidates of each part as the coreset has
points, that sum is at most four times what is possible. Here a part gives ``SURPLUS`` times its share of the coreset,
which costs as many operations less, and the sum is recorded. How much larger the distance is than that of the exact
selection was measured, see docs/scale.md.

Neither the patches nor their projections are ever in memory at once: one part is, and the candidates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from training_code.detectors.patchcore.coreset import Selection, shared_k_center_greedy
from training_code.detectors.patchcore.spec import SURPLUS, images_of_a_part
from training_code.foundation.cache import TensorCache

# Parts that others select from at the same time; all of them are in memory.
_IN_FLIGHT = 2


class Pending(Protocol):
    """A selection that is under way."""

    def result(self) -> Selection:
        """Return it; this waits until it is there."""


#: Begins to select so many points of features, as `shared_k_center_greedy` does with start 0.
Select = Callable[[torch.Tensor, int], Pending]


@dataclass(frozen=True)
class _Done:
    selection: Selection

    def result(self) -> Selection:
        return self.selection


@dataclass(frozen=True)
class Composed:
    """A composed coreset.

    Attributes
    ----------
    rows
        Shape (n, dimensions), in the order of selection.
    patches, parts
        How many patches and parts there were.
    candidates
        How many points were selected within them.
    within, among
        The largest distance of a patch to the nearest candidate of its part, and of a candidate to the coreset, between
        the features that the selection goes by.
    """

    rows: torch.Tensor
    patches: int
    parts: int
    candidates: int
    within: float
    among: float

    def describe(self) -> dict[str, Any]:
        """Return how it was selected as plain data; no patch is farther from it than ``radius``."""
        radii = {"radius": self.within + self.among, "within_parts": self.within, "among_candidates": self.among}
        counts = {"patches": self.patches, "parts": self.parts, "candidates": self.candidates}
        return {"coreset": "composed", **counts, **radii}


class PatchParts:
    """Takes the patches of training images as they come, and selects from each part as soon as it is complete.

    Parameters
    ----------
    images
        How many images will come; those of one part come one after the other.
    selected
        Returns how many of so many patches the coreset has.
    projection
        Given how many patches there will be, their dimensions and device, returns what gives the features that the
        selection goes by.
    cache
        Where selections are shared; None for none.
    select
        Begins a selection elsewhere; None for here and at once.
    """

    def __init__(
        self,
        images: int,
        selected: Callable[[int], int],
        projection: Callable[[int, int, torch.device], Callable[[torch.Tensor], torch.Tensor]],
        cache: TensorCache | None = None,
        select: Select | None = None,
    ) -> None:
        self.images = images
        self._selected, self._projection = selected, projection
        self._cache = cache
        self._select, self._elsewhere = select or self._here, select is not None
        self._waiting: list[torch.Tensor] = []
        self._rows = 0  # of those that wait
        self._candidates: list[torch.Tensor] = []
        self._features: list[torch.Tensor] = []
        self._pending: list[tuple[torch.Tensor, torch.Tensor, Pending]] = []
        self._within = 0.0
        self._each = self._size = self._came = 0

    def append(self, patches: torch.Tensor, per_image: int) -> None:
        """Take the patches of some images, of shape (images * per_image, dimensions)."""
        if not self._each:
            self._each = per_image
            self._size = per_image * images_of_a_part(self.images, per_image, patches.shape[1])
            self._project = self._projection(self.images * per_image, patches.shape[1], patches.device)
        self._waiting.append(patches)
        self._came += len(patches)
        self._rows += len(patches)
        while self._rows >= self._size:
            self._begin(self._take(self._size))

    def compose(self) -> Composed:
        """Return the coreset of the patches that came."""
        if self._rows:
            self._begin(self._take(self._rows))
        parts = len(self._pending) + len(self._candidates)
        self._collect(0)
        candidates, features = torch.cat(self._candidates), torch.cat(self._features)
        self._candidates, self._features = [], []
        count = min(self._selected(self.images * self._each), len(features))
        found = shared_k_center_greedy(features, count, 0, self._cache)
        rows = candidates[found.order.to(candidates.device)]
        return Composed(rows, self._came, parts, len(features), self._within, found.radius)

    def _take(self, rows: int) -> torch.Tensor:
        """Return the first rows of those that wait, which then wait no longer."""
        whole = self._waiting[0].new_empty(rows, self._waiting[0].shape[1])
        filled = 0
        while filled < rows:
            first = self._waiting.pop(0)
            taken = first[: rows - filled]
            whole[filled : filled + len(taken)] = taken
            filled += len(taken)
            if len(taken) < len(first):
                self._waiting.insert(0, first[len(taken) :])
        self._rows -= rows
        return whole

    def _begin(self, part: torch.Tensor) -> None:
        features = self._project(part.float())
        patches = self.images * self._each
        count = min(len(part), math.ceil(SURPLUS * self._selected(patches) * len(part) / patches))
        self._pending.append((part, features, self._select(features, count)))
        self._collect(_IN_FLIGHT if self._elsewhere else 0)

    def _collect(self, left: int) -> None:
        """Wait for the first selections until so many are under way."""
        while len(self._pending) > left:
            part, features, pending = self._pending.pop(0)
            found = pending.result()
            chosen = found.order.to(part.device)
            self._candidates.append(part[chosen])
            self._features.append(features[chosen])
            self._within = max(self._within, found.radius)

    def _here(self, features: torch.Tensor, count: int) -> Pending:
        return _Done(shared_k_center_greedy(features, count, 0, self._cache))

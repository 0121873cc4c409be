"""Whether an index stands in for the exact search of a large memory bank: what is measured on held-out patches decides.

An index misses the true nearest row of few patches, at most one in a hundred of those that were measured, and finds one
that is farther away for them. Distances are measured exactly all the same, and the patches by which an image is scored
are searched exactly: scores of images are those of the exact search, and so are thresholds and metrics of images. Maps
differ where a patch of a hundred is called farther than it is.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.foundation.memory import allowed, readable

if TYPE_CHECKING:
    from training_code.detectors.patchcore.index import IndexedBank

#: Rows from which on an index may be faster; for fewer its construction costs more than it saves.
LEAST_ROWS = 20_000
#: Part of the held-out patches whose true nearest row has to be found. How much of the index is searched is chosen on
#: as many other patches by a higher one, so that this choice does not flatter what is measured.
LEAST_RECALL, AIM = 0.99, 0.995
#: ``auto`` takes an index that needs at most this part of the time of the exact search.
MOST_TIME = 0.8
#: Held-out patches for each of these two.
HELD_OUT = 2048
# Bytes of an index for each row beside its values in float32: two edges of four bytes for each of `index.LINKS`, more
# for few rows, a lock while it is built.
_BESIDE_ROW = 512

T = TypeVar("T")


class BankSearch(nn.Module):
    """How the nearest row of a memory bank is found: exactly, or by an index that finds nearly always the same.

    What was decided is kept with the checkpoint, so that a detector that is loaded predicts as its run did; the index
    itself is not, and is built again when it is first needed. Without faiss, and on a GPU, the search is exact.

    ``auto`` decides by a clock, so that two runs with the same identity may decide differently. It is a part of the
    identity nonetheless, as it was given: metrics and thresholds of images are the same either way, those of pixels
    differ by what the index misses, and the record says what was decided.

    Parameters
    ----------
    asked
        ``exact``; ``index`` for an index of `LEAST_ROWS` rows or more that reaches `LEAST_RECALL`; ``auto`` for one
        that is faster besides.

    Attributes
    ----------
    effort
        How much of the index is searched, int64, see `IndexedBank.find`; 0 for the exact search. None for ``exact``.
    exactly
        Whether the index is not used at present.
    """

    effort: torch.Tensor | None
    exactly = False

    def __init__(self, asked: str) -> None:
        super().__init__()
        self.asked = asked
        self.register_buffer("effort", None if asked == "exact" else torch.tensor(0))
        self._index: IndexedBank | None = None

    def decide(self, bank: torch.Tensor, patches: torch.Tensor, order: torch.Tensor, each: int) -> dict[str, Any]:
        """Decide for a memory bank, see `choose_search`; return for the record what was found, as ``neighbors``."""
        if self.effort is None:
            return {}
        searched = choose_search(self.asked, bank, patches, order, each)
        self.effort.fill_(searched.effort)
        if self.asked == "auto" or searched.reason is None:
            return {"neighbors": searched.describe()}
        sentence = f"neighbors={self.asked!r}, and the search is exact: {searched.reason}"
        print(sentence)
        return {"neighbors": searched.describe(), "warnings": [sentence]}

    @property
    def chosen(self) -> int:
        """How much of the index is searched, 0 for the exact search."""
        return 0 if self.effort is None else int(self.effort)

    def index(self, bank: torch.Tensor) -> "IndexedBank | None":
        """Return the index of a memory bank; None where the search is exact."""
        if self.exactly or not self.chosen:
            return None
        if self._index is None or self._index.bank is not bank:
            self._index = index_of(bank)
        return self._index


@dataclass(frozen=True)
class Searched:
    """What the record keeps of the search in a memory bank.

    Attributes
    ----------
    asked, used
        ``exact``, ``index``, and asked for ``auto``.
    rows
        Of the memory bank.
    effort
        How much of the index is searched, see `IndexedBank.find`; 0 for the exact search.
    patches
        Held-out ones that the others are measured on.
    recall
        Part of them whose true nearest row the index finds.
    excess
        How much farther than their true nearest row what the index finds is at most, as a part of their mean distance.
    exact_seconds, index_seconds, build_seconds
        Of both searches for these patches, and of building the index.
    reason
        Why the search is exact; None where an index is used.
    """

    asked: str
    used: str
    rows: int
    effort: int = 0
    patches: int = 0
    recall: float | None = None
    excess: float | None = None
    exact_seconds: float | None = None
    index_seconds: float | None = None
    build_seconds: float | None = None
    reason: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return what is known, as plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def choose_search(asked: str, bank: torch.Tensor, patches: torch.Tensor, order: torch.Tensor, each: int) -> Searched:
    """Decide how the nearest row of a memory bank is found, by recall and time of an index on held-out patches.

    Parameters
    ----------
    asked
        ``index`` for an index wherever its recall is enough, ``auto`` for one that is faster besides.
    bank
        The memory bank, shape (rows, dimensions).
    patches
        Those of the training images, shape (images * each, dimensions).
    order
        Which of them the memory bank holds, shape (rows,).
    each
        Patches of an image.
    """
    exact = Searched(asked, "exact", len(bank))
    if reason := _impossible(bank):
        return replace(exact, reason=reason)
    queries, kept = held_out(len(patches), order, each)
    if not len(queries):
        return replace(exact, reason="there are no images that can be left out to measure by")
    # Not at the top: faiss belongs to the extra "scale".
    from training_code.detectors.patchcore.index import IndexedBank

    build_seconds, index = _timed(lambda: IndexedBank(bank[kept]))
    found = replace(exact, build_seconds=build_seconds, **_measure(index, patches[queries]))
    if reason := _too_little(found):
        return replace(found, effort=0, reason=reason)
    return replace(found, used="index")


def index_of(bank: torch.Tensor) -> "IndexedBank | None":
    """Return a new index of a memory bank; None where there can be none, so that the search has to be exact."""
    if _impossible(bank):
        return None
    from training_code.detectors.patchcore.index import IndexedBank  # not at the top, as above

    return IndexedBank(bank)


def held_out(count: int, order: torch.Tensor, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw patches of images whose rows are left out of the memory bank, as if they were new.

    Patches of images that the memory bank has rows of would not do: beside each lies a row of its own image, which is
    found easily. On photographs of textures an index found the nearest row of all of them, and of 0.92 of the patches
    of new images.

    Parameters
    ----------
    count
        Number of patches of the training images.
    order
        Which of them the memory bank holds, shape (rows,).
    each
        Patches of an image.

    Returns
    -------
    patches
        Twice `HELD_OUT` of them at most, of half the images at most; none where no rows would be left.
    kept
        The rows of the memory bank that are left.
    """
    generator = torch.Generator().manual_seed(0)  # of its own: what a run draws at random stays as it is
    images = count // each
    drawn = torch.randperm(images, generator=generator)[: min(math.ceil(2 * HELD_OUT / each), images // 2)]
    kept = (~torch.isin(order.cpu() // each, drawn)).nonzero().flatten()
    if not len(kept):
        return kept, kept
    patches = torch.isin(torch.arange(count) // each, drawn).nonzero().flatten()
    return patches[torch.randperm(len(patches), generator=generator)[: 2 * HELD_OUT]], kept


def recall(found: torch.Tensor, true: torch.Tensor) -> float:
    """Return for which part of patches the distance that was found is that to their true nearest row."""
    return float((found <= true).double().mean())


def _impossible(bank: torch.Tensor) -> str | None:
    """Return why there can be no index, None where there can."""
    if len(bank) < LEAST_ROWS:
        return f"the memory bank has {len(bank):,} rows, and an index may be faster from {LEAST_ROWS:,} on"
    if bank.device.type != "cpu":
        return "a GPU searches exactly"
    if find_spec("faiss") is None:
        return "faiss is not installed"
    copies = 2 if bank.dtype == torch.float32 else 3  # the index, a part of the bank to measure by, both in float32
    needed = bank.nbytes + 4 * bank.numel() * copies + _BESIDE_ROW * len(bank)
    if needed > allowed():
        return f"a memory bank with its index takes {readable(needed)}, and {readable(allowed())} are allowed"
    return None


def _too_little(found: Searched) -> str | None:
    """Return why an index does not stand in for the exact search, None where it does."""
    assert found.recall is not None and found.index_seconds is not None and found.exact_seconds is not None
    if found.recall < LEAST_RECALL:
        return f"an index finds the nearest row of {found.recall:.3f} of the held-out patches, less than {LEAST_RECALL}"
    if found.asked == "auto" and found.index_seconds > MOST_TIME * found.exact_seconds:
        return f"an index takes {found.index_seconds:.2g} s, the exact search {found.exact_seconds:.2g} s"
    return None


def _measure(index: "IndexedBank", queries: torch.Tensor) -> dict[str, Any]:
    """Return what is measured on one half of the queries, with the effort that is chosen on the other half."""
    first, second = queries.tensor_split(2)
    true = nearest_neighbors(first, index.bank, 1)[0]
    efforts = (effort for effort in index.efforts if recall(index.find(first, effort)[0], true) >= AIM)
    effort = next(efforts, index.efforts[-1])
    exact_seconds, (true, _) = _timed(lambda: nearest_neighbors(second, index.bank, 1))
    index_seconds, _ = _timed(lambda: index.search(second, effort, len(second)))
    found = index.find(second, effort)[0]
    return {
        "effort": effort,
        "patches": len(second),
        "recall": recall(found, true),
        "excess": float((found - true).max() / true.mean()) if true.any() else None,
        "exact_seconds": exact_seconds,
        "index_seconds": index_seconds,
    }


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result

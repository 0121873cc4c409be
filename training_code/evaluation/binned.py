"""Ranking and quantiles of the pixels of maps that do not fit into memory: counts in bins, with bounds of their error.

Numbers of float32 are ordered as their bits are, so that bins of equal leading bits keep the order and never part equal
numbers. A first pass counts by the upper 16 bits; a second one divides each of these bins further, the more the more
pixels it holds, down to single numbers. The curves are then known exactly where two bins meet. What lies within a bin
is not, unless it is one number: the area under a curve that rises by a in one direction and by b in the other is wrong
by a · b / 2 at most.
Quantiles are exact: they need the lower bits of one or two bins alone. Pixels that are not looked at, `OUTSIDE`, are in
no bin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import OUTSIDE, inside
from training_code.evaluation.ranking import AUPRO_FPR_LIMIT, Ranking
from training_code.foundation.stacks import Images, chunks, in_files

#: A bin holds at most some one in so many of the normal pixels and of the abnormal ones, unless they have one value.
BINS = 2**17
_HALF = 16  # bits
_UPPER = 2**_HALF
_SIGN = np.uint32(2**31)


def _keys(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return integers in the order of the values, equal ones for equal values."""
    bits = (np.asarray(values, np.float32).reshape(-1) + np.float32(0)).view(np.uint32)  # -0 becomes 0
    bits ^= np.negative(bits >> np.uint32(31)) | _SIGN
    return bits


def _values(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return the values of integers as `_keys` returns them."""
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).astype(np.uint32).view(np.float32)


class Bins:
    """Bins of numbers, each of a range of its own, in rising order.

    Parameters
    ----------
    counts
        How many numbers of each kind have which upper bits, shape (kinds, 2 ** 16). Bins are as fine for a kind of
        which there are few as for the others.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).max(axis=0)
        finer = np.ceil(np.log2(np.maximum(shares * BINS, 1))).clip(0, _HALF).astype(np.int64)
        sizes = np.where(shares > 0, 1 << finer, 0)
        self._first = np.cumsum(sizes) - sizes
        self._shift = (_HALF - finer).astype(np.uint32)
        upper = np.repeat(np.arange(_UPPER), sizes)
        place = np.arange(len(upper)) - self._first[upper]
        self.lowest = _values(((upper << _HALF) + (place << self._shift[upper])).astype(np.uint32))  # number of each
        self.single = np.ones(len(upper), bool)  # whether it has got one number alone
        self._first_got = np.zeros(len(upper), np.uint32)  # key of it; 0, which is no number, before there is one

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self.lowest)

    def put(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return which bin each number falls into; its upper bits must be among those that were counted."""
        keys = _keys(values)
        upper = keys >> np.uint32(_HALF)
        places = self._first[upper] + ((keys & np.uint32(_UPPER - 1)) >> self._shift[upper])
        new = self._first_got[places] == 0
        self._first_got[places[new]] = keys[new]
        self.single[places[self._first_got[places] != keys]] = False
        return places


def bins_of(maps: Images, masks: Images) -> Bins:
    """Return bins for the pixels of maps, as fine for those that masks mark as for all others."""
    counts = np.zeros(2 * _UPPER, np.int64)
    for chunk in chunks(maps, masks):
        values, marked = _looked_at(*chunk)
        upper = (_keys(values) >> np.uint32(_HALF)).astype(np.int64)
        counts += np.bincount(upper + _UPPER * marked, minlength=2 * _UPPER)
    return Bins(counts.reshape(2, _UPPER))


def _looked_at(maps: NDArray[np.float32], *others: NDArray) -> tuple[NDArray, ...]:
    """Return the pixels of maps that are not `OUTSIDE`, and the same ones of other images, of one dimension."""
    taken = maps > OUTSIDE
    every = (maps, *others)
    return tuple(each.reshape(-1) for each in every) if taken.all() else tuple(each[taken] for each in every)


@dataclass(frozen=True)
class BinnedRanking(Ranking):
    """Counts of pixels by bins, highest first: one entry for each bin that is not empty.

    Attributes
    ----------
    single
        Whether all pixels of a bin have one value.
    """

    single: NDArray[np.bool_] = field(kw_only=True)

    @property
    def errors(self) -> dict[str, float]:
        """By how much areas and the largest F1 differ from those of all single values at most, by name."""
        hits, alarms = self.true_positives, self.false_positives
        wide, before, beside = ~self.single, np.append(0, hits[:-1]), np.append(0, alarms[:-1])
        rises, rates = np.diff(hits, prepend=0) / hits[-1], np.diff(alarms, prepend=0) / alarms[-1]
        found = {"AUROC": _rectangles(rises, rates, wide) / 2}
        # Precision within a bin, if all its abnormal pixels came first, or all its normal ones.
        precision, highest = hits / (hits + alarms), hits / np.maximum(hits + beside, 1)
        off = np.maximum(highest - precision, precision - (before + 1) / (before + 1 + alarms)).clip(0)
        found["AUPR"] = _rectangles(rises, off, wide)
        if self.region_overlap is not None:
            overlaps, begins = np.diff(self.region_overlap, prepend=0), beside / alarms[-1]
            within = wide & (begins + rates <= AUPRO_FPR_LIMIT)
            across = wide & ~within & (begins < AUPRO_FPR_LIMIT)  # where the limit lies in it, all may be wrong
            found["AUPRO"] = _rectangles(overlaps, rates, within) / 2 + _rectangles(overlaps, rates, across)
            found["AUPRO"] /= AUPRO_FPR_LIMIT
        reachable = (2 * hits / (hits + beside + hits[-1]))[wide]
        found["F1Max"] = max(0.0, float(reachable.max(initial=0)) - float(self.f1.max()))
        return found


def _rectangles(rises: NDArray, widths: NDArray, where: NDArray[np.bool_]) -> float:
    return float(np.sum((rises * widths)[where]))


#: What returns of masks, shape (N, height, width), `training_code.evaluation.regions.region_shares`.
Shares = Callable[[NDArray[np.bool_]], tuple[NDArray[np.float64], int]]


def rank_binned(maps: Images, masks: Images, region_shares: Shares | None = None) -> BinnedRanking:
    """Return the ranking of all pixels, of which ``masks`` mark the abnormal ones.

    Parameters
    ----------
    maps, masks
        Shape (N, height, width); marked pixels and others must occur. Pixels of maps that are `OUTSIDE` do not count.
    region_shares
        That of `training_code.evaluation.regions`, where the overlap with regions is counted, too.
    """
    bins = bins_of(maps, masks)
    counts, weights, regions = np.zeros(2 * len(bins), np.int64), np.zeros(len(bins)), 0
    for some_maps, some_masks in chunks(maps, masks):
        values, marked = _looked_at(some_maps, some_masks)
        places = bins.put(values)
        counts += np.bincount(places + len(bins) * marked, minlength=len(counts))
        if region_shares is not None and some_masks.any():
            shares, count = region_shares(some_masks)
            weights += np.bincount(places[marked], _looked_at(some_maps, shares)[1][marked], len(bins))
            regions += count
    normal, abnormal = counts.reshape(2, -1)
    there = np.flatnonzero(normal + abnormal)[::-1]
    overlap = None if region_shares is None else np.cumsum(weights[there]) / max(regions, 1)
    ranking = BinnedRanking(
        bins.lowest[there], np.cumsum(abnormal[there]), np.cumsum(normal[there]), overlap, single=bins.single[there]
    )
    _tell_best(ranking, maps)
    return ranking


def _tell_best(ranking: Ranking, maps: Images) -> None:
    """Put the values on both sides of the threshold with the largest F1 in the place of the ends of their bins."""
    best = int(ranking.f1.argmax())
    edge, lowest, highest = ranking.thresholds[best], np.float32(np.inf), np.float32(-np.inf)
    for (values,) in chunks(maps):
        above = values >= edge
        lowest = min(lowest, values.min(where=above, initial=np.inf))
        highest = max(highest, values.max(where=~above, initial=-np.inf))
    ranking.thresholds[best : best + 2] = [lowest, highest][: len(ranking.thresholds) - best]


class BinnedPixels:
    """Pixels of good images in bins, to compare those of defects with."""

    def __init__(self, maps: Images, good: NDArray[np.bool_], masks: Images) -> None:
        self._bins = bins_of(maps, masks)
        self._good = self._counted(maps[good])

    def area_under(self, maps: Images, own: Images, masks: Images) -> dict[str, float]:
        """Return the AUROC of the pixels in ``own`` against good ones and all that ``masks`` leave, and its error."""
        marked, others = np.zeros(len(self._bins), np.int64), self._good.copy()
        for values, taken, mask in chunks(maps, own, masks):
            marked += self._counts(values[taken])
            others += self._counts(values[~mask])
        if not marked.any() or not others.any():
            return {}
        there = np.flatnonzero(marked + others)[::-1]
        hits, alarms = np.cumsum(marked[there]), np.cumsum(others[there])
        ranking = BinnedRanking(self._bins.lowest[there], hits, alarms, single=self._bins.single[there])
        return {"pixel_AUROC": ranking.auroc, "pixel_AUROC_error": ranking.errors["AUROC"]}

    def _counted(self, maps: Images) -> NDArray[np.int64]:
        return sum((self._counts(values) for (values,) in chunks(maps)), np.zeros(len(self._bins), np.int64))

    def _counts(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.bincount(self._bins.put(inside(values)), minlength=len(self._bins))


def quantile(maps: Images, part: float, masks: Images | None = None) -> float:
    """Return a quantile of all pixels, or of those that ``masks`` mark, as `numpy.quantile` does; it is exact.

    Parameters
    ----------
    maps, masks
        Shape (N, height, width). Pixels of maps that are `OUTSIDE` do not count.
    part
        From 0 to 1.
    """
    if not in_files(maps, masks):
        values = np.asarray(maps) if masks is None else np.asarray(maps)[np.asarray(masks)]
        return float(np.quantile(inside(values), part))
    counts = np.zeros(_UPPER, np.int64)
    for keys in _marked_keys(maps, masks):
        counts += np.bincount(keys >> np.uint32(_HALF), minlength=_UPPER)
    place = (int(counts.sum()) - 1) * part
    ranks = [int(place), min(int(place) + 1, int(counts.sum()) - 1)]
    upper = [int(found) for found in np.searchsorted(np.cumsum(counts), ranks, side="right")]
    lower = {each: np.zeros(_UPPER, np.int64) for each in upper}
    for keys in _marked_keys(maps, masks):
        for each, found in lower.items():
            own = keys[keys >> np.uint32(_HALF) == each] & np.uint32(_UPPER - 1)
            found += np.bincount(own, minlength=_UPPER)
    exact = []
    for each, number in zip(upper, ranks, strict=True):
        rank = number - int(counts[:each].sum())
        exact.append((each << _HALF) + int(np.searchsorted(np.cumsum(lower[each]), rank, side="right")))
    return float(np.quantile(_values(np.array(exact, np.uint32)), place - ranks[0]))


def _marked_keys(maps: Images, masks: Images | None) -> Iterator[NDArray[np.uint32]]:
    if masks is None:
        yield from (_keys(inside(values)) for (values,) in chunks(maps))
    else:
        yield from (_keys(inside(values[marked])) for values, marked in chunks(maps, masks))


def mean_and_deviation(values: Images) -> tuple[float, float]:
    """Return mean and standard deviation of all numbers that are not `OUTSIDE`, in float64."""
    if not in_files(values):
        array = inside(np.asarray(values))
        return float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
    size, total, squares = 0, 0.0, 0.0
    for (some,) in chunks(values):
        size, total = size + inside(some).size, total + float(inside(some).sum(dtype=np.float64))
    mean = total / size
    for (some,) in chunks(values):
        squares += float(np.square(inside(some).astype(np.float64) - mean).sum())
    return mean, (squares / size) ** 0.5

"""What several detectors say of the same images, put together, on a scale that their calibrations give.

A score of each detector is multiplied by a weight of its own, so that what tells more counts more. With detectors that
err independently of each other the weights that tell good from abnormal best are those of Fisher's linear discriminant
("The Use of Multiple Measurements in Taxonomic Problems", Annals of Eugenics 1936): how far the scores of abnormal
images lie above those of good ones, divided by the variance of the good ones. The good images are those that a detector
has not seen; the test set has no part in it.

Measured on PaDiM and PatchCore in several settings, and a poor autoencoder, on real tiles and demonstration data at 64
to 160 pixels: how far the image AUROC lies from that of the better detector of a pair, which nobody knows beforehand.

===================================  ===============  =================
on average and at worst              59 strong pairs  10 with a poor one
===================================  ===============  =================
one of the two, drawn by lot         -0.023, -0.083   -0.132, -0.174
mean, by the deviation               -0.006, -0.045   -0.022, -0.058
**mean, by Fisher's weights**        -0.007, -0.064   -0.001, -0.015
mean, by the 95th percentile         -0.006, -0.050   -0.013, -0.043
mean of logarithms of p-values       -0.009, -0.041   -0.061, -0.143
maximum, by the deviation            -0.016, -0.058   -0.034, -0.104
**maximum, by Fisher's weights**     -0.015, -0.066   -0.016, -0.064
===================================  ===============  =================

The scale is made of the images that thresholds rest on. So each of them is judged on the one that is made without its
group, as if it were new: otherwise of 10 good images, promised to be refused with a probability of 9 %, a new one was
refused with 11 % (normal scores) or 15 % (lognormal ones); so it is 8 % and 12 %, and of 50 images 3.9 and 3.7 % where
3.9 % are promised.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import OUTSIDE
from training_code.detectors.combined.scales import Scale, Scales
from training_code.evaluation.calibration import ROUNDING, Calibration, area_scores
from training_code.evaluation.predictions import Predictions
from training_code.foundation.stacks import Filling

#: By so many deviations of the good images, at most, a detector tells abnormal ones from them: one whose few good
#: images have nearly equal scores would otherwise outweigh all others.
CLEAREST = 10.0
#: And by so many at least, so that a detector that finds nothing in the abnormal images still counts a little.
LEAST_CLEAR = 0.01
# The least deviation, of scores that are all 0.
_TINY = float(np.finfo(np.float32).tiny)


def combine(calibrations: Sequence[Calibration], how: str, by: Sequence[str]) -> tuple[list[Scales], Calibration]:
    """Return the scales of detectors, and what they say together of the images that all of them have not seen.

    Each part of a calibration is put together, image by image; one that a detector lacks is left out.

    Parameters
    ----------
    calibrations
        Of each detector, with good images.
    how
        ``"mean"`` or ``"maximum"``.
    by
        The parts of a calibration whose abnormal images tell how much a detector counts, as far as it has them; where
        there are none, the deviations of the good images are the scale.
    """
    scaling = _Scaling(calibrations, how, by)
    parts = [
        entry.name
        for entry in dataclasses.fields(Calibration)
        if any(isinstance(getattr(calibration, entry.name), Predictions) for calibration in calibrations)
    ]
    found: dict[str, Any] = {}
    for part in parts:
        every = [getattr(calibration, part) for calibration in calibrations]
        found[part] = None if any(each is None for each in every) else _together(every, scaling)
    if found["good"] is None:
        return scaling.full, Calibration("none")
    together = Calibration(
        "leave one out",  # if not by a detector, then by the scale
        groups=tuple(scaling.group_of[path] for path in found["good"].paths),
        moved=max(calibration.moved for calibration in calibrations),
        shows_places=any(calibration.shows_places for calibration in calibrations),
    )
    return scaling.full, dataclasses.replace(together, **found)


def scored_by_maps(calibration: Calibration) -> Calibration:
    """Return a calibration in which the score of each image is the highest value of its map."""

    def scored(part: Predictions | None) -> Predictions | None:
        return part and dataclasses.replace(part, scores=np.array([each.max() for each in part.maps], np.float64))

    good, judged, varied = (scored(part) for part in (calibration.good, calibration.judged, calibration.varied))
    return dataclasses.replace(
        calibration, good=good, judged=judged, varied=varied, labelled=scored(calibration.labelled)
    )


@dataclass(frozen=True)
class _Numbers:
    """Numbers of one detector: of good images, with their groups, and of abnormal ones."""

    good: NDArray
    groups: NDArray
    abnormal: NDArray

    @property
    def deviation(self) -> float:
        """The standard deviation of the good ones, and at least what rounding may change."""
        good = self.good
        return max(float(np.std(good, dtype=np.float64)), ROUNDING * float(np.abs(good).max()), _TINY)

    @property
    def center(self) -> float:
        """The mean of the good ones."""
        return float(np.mean(self.good, dtype=np.float64))

    @property
    def weight(self) -> float:
        """How much the detector counts, but for a factor that all have in common."""
        deviation = self.deviation
        if not len(self.abnormal):
            return 1 / deviation
        apart = max(float(np.mean(self.abnormal, dtype=np.float64)) - self.center, LEAST_CLEAR * deviation)
        return apart / max(deviation, apart / CLEAREST) ** 2

    def without(self, group: int) -> "_Numbers":
        """Return the numbers without a group of good images, unless fewer than two of them are left."""
        kept = self.groups != group
        return dataclasses.replace(self, good=self.good[kept], groups=self.groups[kept]) if kept.sum() > 1 else self


class _Scaling:
    """The scales of detectors: of new images, and of those that the scales are made of.

    Attributes
    ----------
    full
        By detector, for new images.
    group_of
        Of the images that a scale is made of.
    """

    def __init__(self, calibrations: Sequence[Calibration], how: str, by: Sequence[str]) -> None:
        self.how = how
        self.group_of: dict[Path, int] = {}
        self._scores: list[_Numbers] = []
        self._highest: list[_Numbers] = []
        for calibration in calibrations:
            good, groups = calibration.good, np.array(calibration.groups)
            assert good is not None
            found = [each for each in (getattr(calibration, part) for part in by) if each is not None]
            scores = [each.scores[each.labels] for each in found]
            highest = [area_scores(each.maps[each.labels], 0) for each in found]
            self._scores.append(_Numbers(good.scores, groups, np.concatenate([[], *scores])))
            self._highest.append(_Numbers(area_scores(good.maps, 0), groups, np.concatenate([[], *highest])))
            self.group_of |= dict(zip(good.paths, calibration.groups, strict=True))
        self._without: dict[int, list[Scales]] = {}
        self.full = self._scales(None)

    def of(self, path: Path) -> list[Scales]:
        """Return the scales for an image: those without its group where they are made of it."""
        group = self.group_of.get(path)
        if group is None:
            return self.full
        if group not in self._without:
            self._without[group] = self._scales(group)
        return self._without[group]

    def one(self, values: Sequence[NDArray]) -> NDArray:
        """Return numbers of all detectors, on their scales, as one."""
        return np.mean(values, axis=0) if self.how == "mean" else np.max(values, axis=0)

    def _scales(self, left_out: int | None) -> list[Scales]:
        scores, highest = (self._scale(numbers, left_out) for numbers in (self._scores, self._highest))
        return [Scales(score, of_map) for score, of_map in zip(scores, highest, strict=True)]

    def _scale(self, full: Sequence[_Numbers], left_out: int | None) -> list[Scale]:
        """Return the scale of each detector; of what is left without a group, in the unit of all."""
        found = full if left_out is None else [numbers.without(left_out) for numbers in full]
        weights = [numbers.weight for numbers in found]
        unit = sum(weight * numbers.deviation for weight, numbers in zip(weights, full, strict=True))
        weights = [weight / unit for weight in weights]
        if self.how == "mean":
            return [Scale(weight) for weight in weights]
        # Of numbers seen from those of good images the larger one counts. All that were above 0 stay there.
        centers = [weight * numbers.center for weight, numbers in zip(weights, found, strict=True)]
        top = max(centers)
        if left_out is not None:
            first = self._scale(full, None)[0]
            top = first.shift + first.weight * full[0].center
        return [Scale(weight, top - center) for weight, center in zip(weights, centers, strict=True)]


def _together(every: Sequence[Predictions], scaling: _Scaling) -> Predictions | None:
    """Return predictions of the images that all have, in the order of the first; None where there are none."""
    numbers = [dict(zip(_names(each), range(len(each)), strict=True)) for each in every]
    common = [name for name in numbers[0] if all(name in number for number in numbers)]
    if not common:
        return None
    first, kept = every[0], [numbers[0][name] for name in common]
    scores = np.empty(len(common))
    maps = Filling(len(common))
    for index, name in enumerate(common):
        own = list(zip(every, (number[name] for number in numbers), scaling.of(name[0]), strict=True))
        scores[index] = scaling.one([each.scores[at] * on.score.weight + on.score.shift for each, at, on in own])
        with np.errstate(over="ignore"):  # of what is not looked at, which is put back
            one = scaling.one([each.maps[at] * on.map.weight + on.map.shift for each, at, on in own])
            one = one.astype(np.float32)
        one[first.maps[numbers[0][name]] <= OUTSIDE] = OUTSIDE
        maps.put(one[None])
    return Predictions(
        tuple(first.paths[place] for place in kept),
        tuple(first.defect_types[place] for place in kept),
        scores,
        first.labels[kept],
        maps.done(),
        None if first.masks is None else first.masks[kept],
    )


def _names(found: Predictions) -> Iterator[tuple[Path, str, int]]:
    """Return what tells images apart: the path, the defect type, and the how manieth of these it is."""
    seen: Counter[tuple[Path, str]] = Counter()
    for path, defect_type in zip(found.paths, found.defect_types, strict=True):
        seen[path, defect_type] += 1
        yield path, defect_type, seen[path, defect_type]

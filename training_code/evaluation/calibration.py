"""Calibration: scores and maps of good images that a detector has not seen, on the scale of the one that is deployed.

Thresholds that promise something rest on them. Where they come from is told by the detector's specification:

``leave one out``
    The detector is trained on all good images, and says of each what it would say without it and those of its group.
``hold out``
    A part of the good images is held out of training.

The promise for a new image is that of conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic Learning in a
Random World", 2005; Bates et al., "Testing for Outliers with Conformal p-values", Annals of Statistics 2023): among n
good images and a new one each place in the order of scores is equally likely for the new one. For images that were held
out that is a theorem, unless ``patience`` chose the epoch by the loss on them. For those that are left out one after
the other the theorem loses a factor of two in the worst case (Barber et al., "Predictive Inference with the
Jackknife+", Annals of Statistics 2021); what was measured is in docs/decisions.md. Of groups of images, the photographs
of one part for instance, each counts once, however many images it has (Lee, Barber and Willett, "Distribution-free
Inference with Hierarchical Data", 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import inside
from training_code.evaluation.binned import quantile
from training_code.evaluation.predictions import Predictions, together
from training_code.foundation.stacks import Images

#: By this part of them scores may differ that the same detector computes in other batches; the tests hold it.
ROUNDING = 1e-5
#: Part of the pixels of synthetic anomalies that stays marked where a threshold is raised above what is promised.
VISIBLE = 0.9
#: How a detector comes by scores of good images that it has not seen; ``none`` where it has no such images.
Way = Literal["leave one out", "hold out", "none"]


@dataclass(frozen=True)
class Calibration:
    """What a detector says of good images that it has not seen.

    Attributes
    ----------
    way
        How they were kept from it.
    good
        Good images as they are; None where there are none.
    groups
        Of each of them: images with equal numbers show one part.
    judged
        A part of the images, those that are held out where any are, as they are and with synthetic anomalies.
    varied
        Some of them with varied anomalies, the kind of which is the defect type; a search goes by these two.
    labelled
        Labelled defects that the detector has not seen either.
    taught
        Good images that it was taught after training, left out in the same way; no threshold rests on them, since
        people chose them for their high scores.
    moved
        How many of the good images had no golden sample but themselves, and were compared with themselves moved by a
        pixel or so. What they promise holds for photographs that differ from their references by no more than that.
    shows_places
        Whether maps say where in an image an anomaly is; otherwise there are no thresholds for pixels.
    """

    way: Way
    good: Predictions | None = None
    groups: tuple[int, ...] = ()
    judged: Predictions | None = None
    varied: Predictions | None = None
    labelled: Predictions | None = None
    taught: Predictions | None = None
    moved: int = 0
    shows_places: bool = True

    def area_scores(self, area: float) -> NDArray[np.float32]:
        """Return for each good image the highest threshold at which more than ``area`` of its pixels are marked."""
        assert self.good is not None
        return area_scores(self.good.maps, area)

    @cached_property
    def visible(self) -> float | None:
        """Threshold at which the part `VISIBLE` of the pixels of synthetic anomalies is marked; None without any."""
        if self.judged is None or self.judged.masks is None or not self.judged.masks.any():
            return None
        return quantile(self.judged.maps, 1 - VISIBLE, self.judged.masks)

    @cached_property
    def with_labels(self) -> Predictions | None:
        """The good images and the labelled defects together; None unless there are both."""
        return None if self.good is None or self.labelled is None else together(self.good, self.labelled)


NOTHING = Calibration("none")


def beside(calibration: Calibration, good: Predictions, groups: Sequence[int], moved: int) -> Calibration:
    """Return a calibration that rests on more good images, of parts that were not trained on.

    Parameters
    ----------
    good
        What the detector says of them.
    groups, moved
        As in `Calibration`.
    """
    way = "hold out" if calibration.good is None else calibration.way
    more = replace(good, masks=None)
    before = calibration.good
    return replace(
        calibration,
        way=way,
        good=more if before is None else together(before, more),
        groups=(*calibration.groups, *groups),
        moved=calibration.moved + moved,
    )


def held_out(predictions: Predictions | None, groups: Sequence[int], moved: int = 0) -> Calibration:
    """Return the calibration of predictions for images that were held out, as they are and with synthetic anomalies.

    Parameters
    ----------
    predictions
        The images as they are first, then with anomalies; None where nothing was held out.
    groups
        Of the images as they are.
    moved
        As in `Calibration`.
    """
    if predictions is None:
        return NOTHING
    count = len(groups)
    good = replace(
        predictions,
        paths=predictions.paths[:count],
        defect_types=predictions.defect_types[:count],
        scores=predictions.scores[:count],
        labels=predictions.labels[:count],
        maps=predictions.maps[:count],
        masks=None,
    )
    return Calibration("hold out", good, tuple(groups), predictions, moved=moved)


@dataclass(frozen=True)
class Promise:
    """A threshold, and which part of new good images reaches it at most.

    Attributes
    ----------
    threshold
        Called abnormal is what reaches it.
    rate
        The part, from 0 to 1.
    least
        The smallest part that so many images or groups can promise.
    """

    threshold: float
    rate: float
    least: float


def conformal(scores: NDArray, groups: Sequence[int], alpha: float) -> Promise:
    """Return the lowest threshold that a new good image reaches with a probability of at most ``alpha``.

    With K groups a new image, of a group of its own, lies above a score s with a probability of at most

        1 - (sum over the groups of the part of their images up to s) / (K + 1).

    The threshold lies just above the lowest score for which that is at most ``alpha``, or above the highest one where
    it is for none.

    Parameters
    ----------
    scores
        Shape (n,), of good images that the detector has not seen; at least one.
    groups
        Of each image.
    alpha
        From 0 to 1.

    Examples
    --------
    A new image is the highest of 20 with a probability of 1/20, and 19 images allow no smaller promise.

    >>> conformal(np.arange(19), range(19), 0.05)
    Promise(threshold=18.000181198120117, rate=0.05, least=0.05)
    >>> conformal(np.arange(19), range(19), 0.01).rate
    0.05
    """
    order = np.argsort(scores, kind="stable")
    _, codes, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    places = len(sizes) + 1
    rates = np.round(places - np.cumsum(1 / sizes[codes[order]]), 9) / places
    rates[-1] = least = 1 / places
    first = int((rates <= max(alpha, least)).argmax())
    return Promise(just_above(scores[order[first]]), float(rates[first]), least)


def just_above(score: float) -> float:
    """Return a threshold that a score does not reach, in whatever batch and by whatever file it is computed.

    It lies above it by the part `ROUNDING`, and at least by the next number of float32, in which detectors compute.
    """
    return float(np.nextafter(np.float32(score + ROUNDING * abs(score)), np.float32(np.inf)))


def area_scores(maps: Images, area: float) -> NDArray[np.float32]:
    """Return the highest threshold of each map at which more than the part ``area`` of it is marked.

    Just above it the part is at most ``area``: what is marked falls while the threshold rises, so that a promise for
    these numbers is one for the marked part (Angelopoulos et al., "Conformal Risk Control", ICLR 2024, with the loss
    that is 1 where more is marked).

    Parameters
    ----------
    maps
        Shape (n, height, width).
    area
        From 0 to 1, 1 excluded; of the pixels that are looked at.

    Examples
    --------
    Of four pixels one may be marked at most; with 5 as threshold two would be.

    >>> area_scores(np.array([[[1, 3], [5, 9]]], np.float32), 0.25)
    array([5.], dtype=float32)
    """
    found = []
    for each in maps:
        # What is not looked at is lowest of all, so that places are counted from the highest value.
        place = each.size - 1 - math.floor(area * inside(each).size + 1e-9)
        found.append(np.partition(each.reshape(-1), place)[place])
    return np.array(found, maps.dtype)

"""What several detectors say of the same images, put together, on a scale that their calibrations give.

A score of each detector is multiplied by a weight of its own, so that what tells more counts more. With detectors that
err independently of each other the weights that tell good from abnormal best are those of Fisher's linear discriminant
("The Use of Multiple Measurements in Taxonomic Problems", Annals of Eugenics 1936): how far the scores of abnormal
images lie above those of good ones, divided by the variance of the good ones. The good images are those that a detector
has not seen; abnormal ones are labelled defects that it has not seen, where it learned from others, and synthetic
anomalies otherwise: one that learned from labels need not find anything in the latter. The test set has no part in it.

Measured on 18 pairs of PaDiM, PatchCore and a poor autoencoder, on real tiles and the demonstration datasets at 64 and
128 pixels: the difference of the image AUROC from that of the better detector of the pair.

====================================  =======  =======
scores                                average  lowest
====================================  =======  =======
mean, divided by the deviation        -0.008   -0.058
mean, Fisher's weights                +0.002   -0.005
mean, part of the 95th percentile     -0.011   -0.032
mean, logarithm of the p-value        -0.032   -0.061
maximum, divided by the deviation     -0.012   -0.064
maximum, Fisher's weights             -0.005   -0.055
====================================  =======  =======
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_code.detectors.combined.scales import Scale, Scales
from training_code.evaluation.calibration import Calibration, area_scores
from training_code.evaluation.predictions import Predictions

#: By so many deviations of the good images, at most, a detector tells abnormal ones from them: one whose few good
#: images have nearly equal scores would otherwise outweigh all others.
CLEAREST = 10.0
#: And by so many at least, so that a detector that finds nothing in the abnormal images still counts a little.
LEAST_CLEAR = 0.01
# The least deviation: the scores of very few images may all be equal.
_TINY = 1e-12


def find_scales(calibrations: Sequence[Calibration], how: str, abnormal: Sequence[Predictions | None]) -> list[Scales]:
    """Return the scales of detectors.

    Parameters
    ----------
    calibrations
        Of each detector, with good images.
    how
        ``"mean"`` or ``"maximum"``.
    abnormal
        What each detector says of images of which some are abnormal, and that it has not seen; None where there are
        none: then deviations of the good images are the scale.
    """
    scores, highest = [], []
    for calibration, found in zip(calibrations, abnormal, strict=True):
        good = calibration.good
        assert good is not None
        bad = None if found is None or not found.labels.any() else found.labels
        scores.append((good.scores, None if found is None or bad is None else found.scores[bad]))
        of_maps = None if found is None or bad is None else area_scores(found.maps[bad], 0)
        highest.append((area_scores(good.maps, 0), of_maps))
    pairs = zip(_scales(scores, how), _scales(highest, how), strict=True)
    return [Scales(score, of_map) for score, of_map in pairs]


def _scales(found: Sequence[tuple[NDArray, NDArray | None]], how: str) -> list[Scale]:
    """Return the scale of each detector for numbers of good images and of abnormal ones."""
    deviations = [max(float(np.std(good, dtype=np.float64)), _TINY) for good, _ in found]
    weights = [_weight(*numbers, deviation) for numbers, deviation in zip(found, deviations, strict=True)]
    unit = sum(weight * deviation for weight, deviation in zip(weights, deviations, strict=True))
    weights = [weight / unit for weight in weights]
    if how == "mean":
        return [Scale(weight) for weight in weights]
    # Of numbers seen from those of good images the larger one counts. All that were above 0 stay there.
    centers = [weight * float(np.mean(good)) for weight, (good, _) in zip(weights, found, strict=True)]
    return [Scale(weight, max(centers) - center) for weight, center in zip(weights, centers, strict=True)]


def _weight(good: NDArray, abnormal: NDArray | None, deviation: float) -> float:
    if abnormal is None:
        return 1 / deviation
    apart = max(float(np.median(abnormal) - np.median(good)), LEAST_CLEAR * deviation)
    return apart / max(deviation, apart / CLEAREST) ** 2


def combine(calibrations: Sequence[Calibration], scales: Sequence[Scales], how: str) -> Calibration:
    """Return what detectors together say of the images that all of them have not seen.

    Each kind of images of a calibration is put together, image by image; one that a detector lacks is left out.
    """
    first = calibrations[0]
    kinds = [
        entry.name
        for entry in dataclasses.fields(Calibration)
        if any(isinstance(getattr(calibration, entry.name), Predictions) for calibration in calibrations)
    ]
    found: dict[str, Predictions | None] = {}
    for kind in kinds:
        every = [getattr(calibration, kind) for calibration in calibrations]
        found[kind] = None if any(each is None for each in every) else _together(every, scales, how)
    good = found.get("good")
    if good is None:
        return Calibration("none")
    assert first.good is not None
    group_of = dict(zip(first.good.paths, first.groups, strict=True))
    ways = [calibration.way for calibration in calibrations]
    return Calibration(
        "leave one out" if "leave one out" in ways else first.way,  # what is proved of it is less
        groups=tuple(group_of[path] for path in good.paths),
        moved=max(calibration.moved for calibration in calibrations),
        **found,
    )


def _together(every: Sequence[Predictions], scales: Sequence[Scales], how: str) -> Predictions | None:
    """Return predictions of the images that all have, in the order of the first; None where there are none."""
    numbers = [dict(zip(_names(each), range(len(each)), strict=True)) for each in every]
    common = [name for name in numbers[0] if all(name in number for number in numbers)]
    if not common:
        return None
    places = [[number[name] for name in common] for number in numbers]
    first = every[0]
    own = list(zip(every, places, scales, strict=True))
    scores = [each.scores[place] * scale.score.weight + scale.score.shift for each, place, scale in own]
    maps = np.empty((len(common), *first.maps.shape[1:]), np.float32)
    for index, into in enumerate(maps):
        of_image = [each.maps[place[index]] * scale.map.weight + scale.map.shift for each, place, scale in own]
        into[:] = _one(of_image, how)
    kept = places[0]
    return Predictions(
        tuple(first.paths[place] for place in kept),
        tuple(first.defect_types[place] for place in kept),
        _one(scores, how),
        first.labels[kept],
        maps,
        None if first.masks is None else first.masks[kept],
    )


def _one(values: Sequence[NDArray], how: str) -> NDArray:
    return np.mean(values, axis=0) if how == "mean" else np.max(values, axis=0)


def _names(found: Predictions) -> Iterator[tuple[Path, str, int]]:
    """Return what tells images apart: the path, the defect type, and the how manieth of these it is."""
    seen: Counter[tuple[Path, str]] = Counter()
    for path, defect_type in zip(found.paths, found.defect_types, strict=True):
        seen[path, defect_type] += 1
        yield path, defect_type, seen[path, defect_type]

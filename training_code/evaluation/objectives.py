"""What a search goes by: how well unseen labelled defects are found, or varied anomalies where there are no labels."""

from collections.abc import Mapping

import numpy as np

from training_code.data.layout import NORMAL
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.metrics import decide, rank_by_defect_type, rank_predictions
from training_code.evaluation.operating_point import OF_LABELS
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.stacks import joined


def validation_metrics(
    calibration: Calibration, on_labels: Mapping[str, float], thresholds: Thresholds
) -> dict[str, float]:
    """Return the metrics on images that the detector has not seen.

    Those on good images with and without synthetic anomalies have the names of metrics, those on good images and
    labelled defects have ``labelled_`` before them.

    Parameters
    ----------
    calibration
        What the detector says of them.
    on_labels
        Of the latter, the metrics that go by no threshold.
    thresholds
        Those in force.
    """
    found: dict[str, float] = {}
    if (judged := calibration.judged) is not None:
        found = rank_predictions(judged)[0] | decide(judged, thresholds).metrics
        found |= varied_metrics(judged, calibration.varied)
    if (unseen := calibration.with_labels) is not None:
        metrics = {**on_labels, **decide(unseen, thresholds).metrics}
        found |= {f"{OF_LABELS}{name}": value for name, value in metrics.items()}
    return found


def varied_metrics(validation: Predictions, varied: Predictions | None) -> dict[str, float]:
    """Return ``varied_image_AUROC`` and ``varied_pixel_AUROC``: of each kind of anomaly, and then their mean.

    Anomalies that alter large parts of an image, and that every detector finds, would otherwise hide the others.

    Parameters
    ----------
    validation
        Of the held-out images; the good ones among them are taken.
    varied
        Of these images with anomalies, whose kind is the defect type.
    """
    if varied is None or varied.masks is None or validation.masks is None:
        return {}
    good, altered = ~validation.labels, varied.labels
    chosen = [(validation, good), (varied, altered)]
    kinds = np.array(varied.defect_types)[altered].tolist()
    together = Predictions(
        paths=tuple(path for part, taken in chosen for path in np.array(part.paths)[taken]),
        defect_types=(NORMAL,) * int(good.sum()) + tuple(kinds),
        scores=np.concatenate([part.scores[taken] for part, taken in chosen]),
        labels=np.concatenate([part.labels[taken] for part, taken in chosen]),
        maps=joined([part.maps[taken] for part, taken in chosen]),
        masks=joined([validation.masks[good], varied.masks[altered]]),
    )
    rows = rank_by_defect_type(together).values()
    found = {name: [row[name] for row in rows if name in row] for name in ("image_AUROC", "pixel_AUROC")}
    return {f"varied_{name}": float(np.mean(values)) for name, values in found.items() if values}

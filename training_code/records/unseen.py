"""What a stored run says of good images and labelled defects that its detector has not seen, without its maps."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_code.data.layout import NORMAL
from training_code.evaluation.decisions import Decisions
from training_code.evaluation.metrics import decide_images, rank_images
from training_code.records.metrics import METRICS
from training_code.records.scores import read_calibration, read_labelled, read_scores


@dataclass(frozen=True)
class UnseenScores:
    """Scores of N images: good ones first, labelled defects behind them."""

    scores: NDArray[np.float64]  # (N,), higher is more anomalous
    labels: NDArray[np.bool_]  # (N,), True for labelled defects
    defect_types: tuple[str, ...]

    def metrics(self, threshold: float | None) -> dict[str, float]:
        """Return the metrics of images by name; those that go by a threshold only where there is one."""
        found = rank_images(self.scores, self.labels)[0]
        if threshold is None:
            return found
        return found | decide_images(self.scores, self.labels, self.defect_types, None, threshold).metrics

    def value(self, name: str, threshold: float | None, chosen: NDArray[np.intp] | slice = slice(None)) -> float:
        """Return one of these metrics, of chosen images; faster than all of them.

        Raises
        ------
        ValueError
            If it cannot be computed.
        """
        scores, labels = self.scores[chosen], self.labels[chosen]
        if "threshold" not in METRICS[name].needs:
            found = rank_images(scores, labels)[0]
        elif threshold is not None:
            found = {f"image_{key}": value for key, value in Decisions.at(scores, labels, threshold).metrics().items()}
        else:
            found = {}
        if name not in found:
            raise ValueError(f"{name} cannot be computed of {len(labels)} images, {int(labels.sum())} with defects")
        return found[name]


def read_unseen(folder: Path, among: Collection[str] | None = None) -> UnseenScores:
    """Return the scores that the run in ``folder`` keeps of images that it has not seen.

    Parameters
    ----------
    among
        Paths of labelled defects relative to the dataset, which are taken in place of the run's own ones, as far as it
        has labelled or tested them: where a run with another seed has labelled others.

    Raises
    ------
    ValueError
        If a file is damaged; the message says so.
    OSError
        If one is not there.
    """
    good, labelled = read_calibration(folder), read_labelled(folder)
    known = dict(zip(labelled.paths, zip(labelled.defect_types, labelled.scores, strict=True), strict=True))
    if among is not None:
        test = read_scores(folder)
        tested = zip(test.paths, zip(test.defect_types, test.scores, strict=True), strict=True)
        known = {path: found for path, found in {**dict(tested), **known}.items() if path in among}
    kinds, scores = zip(*known.values(), strict=True) if known else ((), ())
    count = len(good.scores)
    return UnseenScores(
        np.concatenate([good.scores, scores]),
        np.arange(count + len(scores)) >= count,
        (NORMAL,) * count + tuple(kinds),
    )

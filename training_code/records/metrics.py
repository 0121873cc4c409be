"""What is known of each metric: which way is better, whether its threshold is an oracle's, what it needs."""

from dataclasses import dataclass
from typing import Any, Literal

from training_code.foundation.errors import unknown

#: What a metric needs: good or defective test images, masks with marked pixels, a threshold from held-out images,
#: enough good pixels to tell one in 10,000.
Need = Literal["good", "defective", "masks", "threshold", "pixels"]


@dataclass(frozen=True)
class Metric:
    """A metric of a run.

    Attributes
    ----------
    needs
        Without which it cannot be computed.
    larger_is_better
        Which way is better; whatever ranks by a metric asks here.
    oracle
        Whether its threshold is found on the test set, which no user of the detector can do.
    """

    needs: frozenset[Need]
    larger_is_better: bool = True
    oracle: bool = False

    @property
    def extreme(self) -> Literal["max", "min"]:
        """The aggregation that returns the best of several values."""
        return "max" if self.larger_is_better else "min"

    def gain(self, values: Any) -> Any:
        """Return numbers of which the larger is better whatever the metric: the values, or their negatives.

        Parameters
        ----------
        values
            A number, array, column or table.
        """
        return values if self.larger_is_better else -values


_RANKED, _MASKED = frozenset[Need]({"good", "defective"}), frozenset[Need]({"masks"})
_DECIDED, _MARKED = frozenset[Need]({*_RANKED, "threshold"}), frozenset[Need]({"masks", "threshold"})
_REFUSED, _FOUND = frozenset[Need]({"good", "threshold"}), frozenset[Need]({"defective", "threshold"})

#: The metrics by name, in the order in which they are shown.
METRICS = {
    "image_AUROC": Metric(_RANKED),
    "image_F1Score": Metric(_DECIDED),
    "pixel_AUROC": Metric(_MASKED),
    "pixel_F1Score": Metric(_MARKED),
    "image_AUPR": Metric(_RANKED),
    "image_F1Max": Metric(_RANKED, oracle=True),
    "pixel_AUPR": Metric(_MASKED),
    "pixel_AUPRO": Metric(_MASKED),
    "pixel_F1Max": Metric(_MASKED, oracle=True),
    "image_FalseAlarmRate": Metric(_REFUSED, larger_is_better=False),
    "image_MissRate": Metric(_FOUND, larger_is_better=False),
    "image_Accuracy": Metric(_DECIDED),
    "image_Precision": Metric(_DECIDED),
    "image_Recall": Metric(_FOUND),
    "image_BalancedAccuracy": Metric(_DECIDED),
    "image_PB1": Metric(_RANKED, oracle=True),
    "image_PB5": Metric(_RANKED, oracle=True),
    "image_PB10": Metric(_RANKED, oracle=True),
    "pixel_AUPIMO": Metric(_MASKED | _RANKED | {"pixels"}),
    "pixel_MarkedGoodShare": Metric(_REFUSED, larger_is_better=False),
    "pixel_RegionRecall": Metric(_MARKED),
    "pixel_FalseRegions": Metric(_MARKED, larger_is_better=False),
}
#: The seconds for an image, which a search may compare beside the metrics.
LATENCY = "latency"
#: On held-out good images and these with anomalies of many kinds, the mean over the kinds: what a search may go by, as
#: well as by `METRICS`, which there are of held-out images with Perlin noise alone.
VARIED = {"varied_image_AUROC": Metric(_RANKED), "varied_pixel_AUROC": Metric(_MASKED)}
OBJECTIVES = METRICS | VARIED | {LATENCY: Metric(frozenset(), larger_is_better=False)}
#: What is said beside the result of a search by held-out images with synthetic anomalies.
CAUTION = (
    "Held-out images with synthetic anomalies are no test set: on four datasets the rank correlation of "
    "varied_image_AUROC with the true image AUROC was 0.67 to 0.88, and its choice was up to 0.06 below the best. Test "
    "several of the best trials on labeled images; docs/experiments.md says how far each objective can be trusted."
)
#: F1 of a detector that calls every test image defective. It says how little an ``image_F1Score`` may mean.
F1_ALL_BAD = "image_F1AllBad"


def criterion_metric(criterion: str) -> Metric:
    """Return the metric by which something is ranked.

    Raises
    ------
    InputError
        If there is no such metric; the message has the valid ones.
    """
    if criterion not in METRICS:
        raise unknown("criterion", criterion, METRICS)
    return METRICS[criterion]


def f1_all_bad(good: int, defective: int) -> float | None:
    """Return the F1 of calling every image defective; None without images of both kinds, where F1 says nothing."""
    return 2 * defective / (2 * defective + good) if good and defective else None

"""The specification of a detector that is made of finished runs."""

from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import Argument, one_of
from training_code.detectors.spec import DetectorSpec

#: How the scores and maps of several detectors, on a common scale, become one.
WAYS = ("mean", "maximum")


def in_order(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments with each run once, in one order: that in which they are named makes no other detector."""
    return arguments | {"combine": sorted({*arguments["combine"]})}


SPEC = DetectorSpec(
    name="Combined",
    path="training_code.detectors.combined.model:Combined",
    notebook="16_train_with_labels",
    arguments={
        "combine": Argument(list[str], []),
        "how": Argument(str, "mean", one_of(*WAYS)),
    },
    normalizes=False,
    told_by=("how", "combine"),
    complete=in_order,
    combines="combine",
    stages="training_code.combining:run_stages",
)

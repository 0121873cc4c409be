"""The specification of AnomalyVFM."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.published import WeightFile
from training_code.detectors.arguments import AT_LEAST_1, Argument, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import DetectorSpec
from training_code.foundation.errors import InputError

#: Pixels of an image for each position of the features, along a side.
STRIDE = 16
#: Channels of the features in the paper's network. Its decoder normalizes half of them in 32 groups.
CHANNELS, GROUPED = 1024, 64
FILE = WeightFile(
    name="anomalyvfm_radio",
    holds="the network of AnomalyVFM over RADIO with its adapters, as its authors trained it",
    source="https://huggingface.co/MaticFuc/anomalyvfm_radio (model.safetensors, commit 17654e76)",
    license="as that page states it",
)


def channels(width: float) -> int:
    """Return the number of channels for a width, the nearest that the decoder takes."""
    return max(1, round(CHANNELS * width / GROUPED)) * GROUPED


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse images that the patches do not cover, and a smaller network with weights, with the valid values."""
    if any(side % STRIDE for side in image_size):
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} does not fit the patches of AnomalyVFM; valid: multiples of "
            f"{STRIDE}, and 768 as in the paper"
        )
    if arguments["pre_trained"] and (arguments["width"], arguments["depth"]) != (1.0, 24):
        raise InputError(
            "the weights of AnomalyVFM are for width=1.0 and depth=24; valid for others: pre_trained=False"
        )


def _needs(arguments: Mapping[str, Any]) -> tuple[WeightFile, ...]:
    return (FILE,) if arguments["pre_trained"] else ()


def _refused(arguments: Mapping[str, Any]) -> str:
    return "anomalib's AnomalyVFM downloads its weights whatever checkpoint it loads"


SPEC = DetectorSpec(
    name="AnomalyVFM",
    path="training_code.detectors.anomalyvfm.model:AnomalyVFM",
    notebook="19_train_foundation",
    arguments={
        "precision": Argument(str, "float32", one_of("float32", "float16")),
        "pre_trained": Argument(bool, True),
        "width": Argument(float, 1.0, (lambda value: 0 < value <= 1, "above 0 and at most 1")),
        "depth": Argument(int, 24, AT_LEAST_1),
    },
    normalizes=False,
    told_by=("width", "depth"),
    paper={"width": 1.0, "depth": 24},
    plain=PlainForm(refuses=_refused),
    small={"pre_trained": False, "width": 1 / 16, "depth": 2},
    published=(FILE,),
    needs=_needs,
    check=check,
)

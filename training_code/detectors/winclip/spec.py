"""The specification of WinCLIP."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from training_code.backbones.files import find_file
from training_code.backbones.published import WeightFile
from training_code.detectors.arguments import AT_LEAST_0, Argument
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import DetectorSpec
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.program import missing_extra

FILE = WeightFile(
    name="open_clip_vit_b_16_plus_240",
    holds="the networks of CLIP for images and for words (ViT-B/16+ of OpenCLIP, trained on LAION-400M)",
    source="https://huggingface.co/timm/vit_base_patch16_plus_clip_240.laion400m_e31 (open_clip_model.safetensors)",
    license="MIT",
)


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse more references than images, and a run without the package of the language model, in an `InputError`."""
    if arguments["k_shot"] > images:
        raise InputError(
            f"k_shot={arguments['k_shot']} is out of range with {images} training images; valid: 0 to {images}"
        )
    # Without the file the run is skipped, whatever is installed.
    if find_file(FILE.name, paths.WEIGHTS) is not None and find_spec("open_clip") is None:
        sentence = missing_extra(ModuleNotFoundError(name="open_clip_torch"))
        raise InputError(sentence or "WinCLIP needs open_clip_torch, which is not installed")


def _needs(arguments: Mapping[str, Any]) -> tuple[WeightFile, ...]:
    return (FILE,)


def _refused(arguments: Mapping[str, Any]) -> str:
    return "anomalib's WinClip downloads its weights whatever checkpoint it loads"


SPEC = DetectorSpec(
    name="WinClip",
    path="training_code.detectors.winclip.model:WinClip",
    notebook="19_train_foundation",
    arguments={
        "class_name": Argument(str | None, None),
        "k_shot": Argument(int, 0, AT_LEAST_0),
        "scales": Argument(list[int], [2, 3], (lambda value: value and min(value) >= 1, "numbers of at least 1")),
    },
    normalizes=False,
    told_by=("class_name", "k_shot"),
    # References are training images: others would decide about the numbers without being part of the conditions.
    plain=PlainForm(folders=("few_shot_source",), refuses=_refused),
    small={"k_shot": 1},
    not_exported="its windows and the words that it compares them with are computed by OpenCLIP",
    published=(FILE,),
    needs=_needs,
    check=check,
)

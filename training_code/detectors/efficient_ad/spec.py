"""The specification of EfficientAd, its teachers, and the images that its student must not imitate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skimage.data import data_dir

from training_code.backbones.backbone import Backbone
from training_code.backbones.published import WeightFile
from training_code.data.walk import find_images
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, POSITIVE, Argument, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import DetectorSpec, Epochs
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import content_hash, digest

#: The photographs of scikit-image that stand for those of ImageNet if no folder is given.
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
#: Features of the published teachers.
TEACHER_CHANNELS = 384
_SOURCE = (
    "https://github.com/open-edge-platform/anomalib/releases/download/efficientad_pretrained_weights/"
    "efficientad_pretrained_weights.zip"
)
#: By size of the model. The archive holds both files, under these names.
TEACHERS = {
    size: WeightFile(f"pretrained_teacher_{size}", f"the {size} teacher of EfficientAd", _SOURCE, "Apache-2.0")
    for size in ("small", "medium")
}
# Below it nothing is left of an image but the borders of the teacher's features.
_LEAST = 64


def penalty_sources(folder: str | None) -> list[Path]:
    """Return the images whose features the student must not imitate, sorted.

    Raises
    ------
    InputError
        If the folder is not there or holds no images.
    """
    if folder is None:
        return [Path(data_dir, name) for name in PHOTOGRAPHS]
    path = paths.from_home(folder)
    found = find_images(path) if path.is_dir() else []
    if not found:
        raise InputError(
            f"penalty_images={folder!r} is no folder with images; valid: one with photographs of many things, such as "
            "ImageNette, or None for those that scikit-image carries"
        )
    return found


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments.

    Raises
    ------
    InputError
        If the published teacher does not have the sizes that are asked for.
    """
    if arguments["pre_trained"] and (arguments["width"], arguments["teacher_out_channels"]) != (1, TEACHER_CHANNELS):
        raise InputError(
            f"the published teachers of EfficientAd have width=1.0 and teacher_out_channels={TEACHER_CHANNELS}; other "
            "values are valid with pre_trained=False, a teacher of random weights"
        )
    return arguments


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` if images are too small, or there are none that the student must not imitate."""
    if min(image_size) < _LEAST:
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} is too small for EfficientAd; valid: from {_LEAST} on"
        )
    penalty_sources(arguments["penalty_images"])


def needs(arguments: Mapping[str, Any]) -> tuple[WeightFile, ...]:
    """Return the file of the teacher, none where its weights are random."""
    return (TEACHERS[arguments["model_size"]],) if arguments["pre_trained"] else ()


def files(arguments: dict[str, Any]) -> dict[str, str]:
    """Return the hash of the images that the student must not imitate."""
    return {"penalty_images": digest([content_hash(path) for path in penalty_sources(arguments["penalty_images"])])}


SPEC = DetectorSpec(
    name="EfficientAd",
    path="training_code.detectors.efficient_ad.model:EfficientAd",
    notebook="17_train_students",
    arguments={
        "penalty_images": Argument(str | None, None),
        "teacher_out_channels": Argument(int, TEACHER_CHANNELS, AT_LEAST_1),
        "model_size": Argument(str, "small", one_of(*TEACHERS)),
        "lr": Argument(float, 0.0001, POSITIVE),
        "weight_decay": Argument(float, 0.00001, AT_LEAST_0),
        "padding": Argument(bool, False),
        "pad_maps": Argument(bool, True),
        "pre_trained": Argument(bool, True),
        "width": Argument(float, 1.0, POSITIVE),
    },
    # 70,000 steps of one image in the paper: so many epochs of the 240 images that a product of MVTec AD has.
    epochs=Epochs(max_epochs=290, batch_size=1),
    normalizes=False,
    told_by=("model_size", "width", "max_epochs"),
    paper={"max_epochs": 290, "width": 1.0, "teacher_out_channels": TEACHER_CHANNELS},
    plain=PlainForm({"width": 1.0, "padding": False}, folders=("imagenet_dir",)),
    small={"pre_trained": False, "width": 0.1, "teacher_out_channels": 8, "lr": 1e-3, "max_epochs": 2},
    published=tuple(TEACHERS.values()),
    needs=needs,
    complete=complete,
    check=check,
    files=files,
)

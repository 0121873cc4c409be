"""The specification of PatchCore."""

from importlib.util import find_spec
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.spec import AT_LEAST_1, RATIO, Argument, BackboneUse, DetectorSpec, PlainForm, one_of
from training_code.foundation.errors import InputError
from training_code.foundation.program import missing_extra


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments as they are.

    Raises
    ------
    InputError
        If ``reduce`` does not reduce the channels of the layers.
    """
    assert backbone is not None  # it has a default, and None is no valid value
    layers, reduce = arguments["layers"], arguments["reduce"]
    channels = backbone.channels(layers)
    if reduce is not None and reduce >= channels:
        raise InputError(
            f"reduce={reduce} is out of range: {', '.join(layers)} of {backbone.name} have {channels} channels, valid: "
            f"1 to {channels - 1}, or None for all of them"
        )
    return arguments


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse an index without the package that makes it, with the extra that has it in an `InputError`."""
    if arguments["neighbors"] == "index" and find_spec("faiss") is None:
        sentence = missing_extra(ModuleNotFoundError(name="faiss")) or "an index of the memory bank needs faiss"
        raise InputError(f"{sentence}; or take neighbors='auto' or 'exact'")


SPEC = DetectorSpec(
    name="Patchcore",
    path="training_code.detectors.patchcore.model:Patchcore",
    notebook="11_train_patchcore",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2"),
        "layers": Argument(list[str], ["layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "coreset_sampling_ratio": Argument(float, 0.1, RATIO),
        "num_neighbors": Argument(int, 9, AT_LEAST_1),
        "precision": Argument(str, "float32", one_of("float32", "float16")),
        "projection": Argument(bool | None, None),
        "neighbors": Argument(str, "exact", one_of("exact", "index", "auto"), before="exact"),
        "reduce": Argument(int | None, None, AT_LEAST_1, before=None),
    },
    leaves_out=True,
    backbone=BackboneUse(strides=(8, 16), depths=(1,)),
    told_by=("layers", "coreset_sampling_ratio", "num_neighbors", "reduce"),
    plain=PlainForm(fixed={"reduce": None}, without=("model.search.effort",)),
    complete=complete,
    check=check,
)

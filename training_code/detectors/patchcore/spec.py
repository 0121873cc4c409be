"""The specification of PatchCore."""

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_1, BELOW_HALF, RATIO, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec
from training_code.foundation.errors import InputError
from training_code.foundation.program import missing_extra

#: Part of the memory that is allowed which patches may take where the coreset is exact.
IN_MEMORY = 1 / 2
#: Multiplications of an exact selection up to which ``coreset="auto"`` takes one: some minutes on two cores.
EXACT = 2e13
#: Bytes of the patches of a part of a composed coreset, and the least number of parts: the time of the selection within
#: parts grows with their size.
PART_BYTES, LEAST_PARTS = 2**29, 8
#: Least number of candidates of a composed coreset, as a multiple of it; there are more up to so many multiplications,
#: about a minute on two cores.
LEAST_SURPLUS, FOR_CANDIDATES = 1.5, 1e12
# Arguments that need all patches at once, with the values that do not.
_WHOLE = {"reduce": None, "denoise": 0.0}
# Distortion of distances that anomalib allows its projection: there are 4 ln(n) / (e^2 / 2 - e^3 / 3) dimensions.
DISTORTION = 0.9


def images_of_a_part(images: int, patches: int, dimensions: int) -> int:
    """Return how many images make a part of `PART_BYTES` at most, such that there are `LEAST_PARTS` at least.

    Parameters
    ----------
    images
        How many there are in all.
    patches, dimensions
        Of each image.
    """
    return max(1, min(images // LEAST_PARTS, PART_BYTES // (4 * patches * dimensions)))


def surplus(patches: int, part: int, selected: int, dimensions: int) -> float:
    """Return how many times its share of the coreset each part selects, at most as many times as there are parts.

    Then a part selects as many points as the coreset has, as in the paper. It selects fewer where the candidates of all
    parts would be more points than a part has, or where that would take more than `FOR_CANDIDATES` multiplications, and
    at least `LEAST_SURPLUS` times its share.

    Parameters
    ----------
    patches, part, selected
        How many patches there are in all, in a part, and in the coreset.
    dimensions
        In which they are compared.

    Examples
    --------
    Of 96 images with 1,024 patches in 8 parts each part gives 983 points, as many as the coreset has. Of 1,215 images
    with 4,096 patches in parts of 21 a part gives 1.5 times its share.

    >>> surplus(patches=98304, part=12288, selected=983, dimensions=152)
    8.0
    >>> surplus(patches=4976640, part=86016, selected=49766, dimensions=280)
    1.5
    """
    selected = max(1, selected)  # none is refused elsewhere
    each = selected * dimensions * (part + selected)  # within the parts, and among the candidates
    return max(LEAST_SURPLUS, min(patches / part, part / selected, FOR_CANDIDATES / each))


def settle(arguments: dict[str, Any], extent: Extent) -> dict[str, Any]:
    """Return the arguments with ``coreset`` decided: exact where the patches fit into memory and that takes minutes.

    Raises
    ------
    InputError
        If the coreset has no patch, or more than there are, or is composed of patches that are needed all at once.
    """
    if (name := _needs_all(arguments)) and arguments["coreset"] == "composed":
        raise InputError(f"{name} needs all patches at once, and coreset='composed' does not have them; valid: exact")
    sizes = _Sizes(arguments, extent)
    ratio, size = arguments["coreset_sampling_ratio"], arguments["coreset_size"]
    if size is not None and size > sizes.patches:
        raise InputError(f"coreset_size={size} is out of range: {extent.images} images have {sizes.patches} patches")
    if sizes.selected < 1:
        raise InputError(
            f"coreset_sampling_ratio={ratio} selects nothing of {sizes.patches} patches of {extent.images} images"
        )
    if arguments["coreset"] != "auto":
        return arguments
    if _needs_all(arguments):
        return arguments | {"coreset": "exact"}
    fits = sizes.exact_bytes <= IN_MEMORY * extent.memory
    return arguments | {"coreset": "exact" if fits and sizes.exact_operations <= EXACT else "composed"}


def _needs_all(arguments: Mapping[str, Any]) -> str | None:
    """Return which argument that is set needs all patches at once; None if none does."""
    return next((name for name in _WHOLE if arguments[name]), None)


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the selection needs beside the pass through the backbone."""
    sizes = _Sizes(arguments, extent)
    if arguments["coreset"] == "exact":
        size = sizes.exact_bytes
        name = _needs_all(arguments)
        instead = f"coreset='composed', which needs {name}={_WHOLE[name]}" if name else "coreset='composed'"
        return Need(sizes.features, size, 0, sizes.exact_operations, sizes.each, "exact coreset", instead)
    size = sizes.composed_bytes
    return Need(sizes.features, size, 0, sizes.composed_operations, sizes.each, "composed coreset")


class _Sizes:
    """Numbers of patches, of selected ones, and of dimensions, and what follows from them."""

    def __init__(self, arguments: Mapping[str, Any], extent: Extent) -> None:
        each, self.dimensions = extent.positions(arguments["layers"]), extent.channels(arguments["layers"])
        self.patches = extent.images * each
        self.selected = selected(arguments["coreset_sampling_ratio"], arguments["coreset_size"], self.patches)
        self._projection = arguments["projection"]
        # The maps, pooled, at one size, side by side, and in rows.
        self.each = 4 * 4 * each * self.dimensions
        self.part = each * images_of_a_part(extent.images, each, self.dimensions)
        times = surplus(self.patches, self.part, self.selected, self._compared(self.part))
        self.candidates = min(self.patches, math.ceil(times * self.selected))
        self.features = 4 * self.patches * self.dimensions

    def _compared(self, patches: int) -> int:
        """Return in how many dimensions so many patches are compared: what anomalib's projection leaves."""
        projected = int(4 * math.log(max(2, patches)) / (DISTORTION**2 / 2 - DISTORTION**3 / 3))
        projects = projected < self.dimensions if self._projection is None else self._projection
        return projected if projects else self.dimensions

    @property
    def exact_bytes(self) -> int:
        """The patches, their projections, and the memory bank."""
        compared = self._compared(self.patches)
        apart = compared if compared != self.dimensions else 0
        return 4 * (self.patches * (self.dimensions + apart) + self.selected * self.dimensions)

    @property
    def composed_bytes(self) -> int:
        """The maps of a part, which have no more numbers than its patches, its features, and the candidates."""
        compared = self._compared(self.part)
        part = self.part * (self.dimensions + compared)
        return 4 * (part + 2 * self.candidates * (self.dimensions + compared))

    @property
    def exact_operations(self) -> float:
        """One for each patch, selected one and dimension."""
        return float(self.patches) * self.selected * self._compared(self.patches)

    @property
    def composed_operations(self) -> float:
        """Those within the parts, and those among the candidates."""
        return float(self.candidates) * (self.part + self.selected) * self._compared(self.part)


def selected(ratio: float, size: int | None, patches: int) -> int:
    """Return how many of the patches a coreset has, given ``coreset_sampling_ratio`` and ``coreset_size``."""
    return int(patches * ratio) if size is None else size


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
    """Refuse what cannot be done: an index without the package that makes it, outliers of a single image."""
    if arguments["denoise"] and images < 2:
        raise InputError(f"denoise={arguments['denoise']} compares images, and {images} is left to train on; valid: 0")
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
        "coreset": Argument(str, "auto", one_of("exact", "composed", "auto"), before="exact"),
        "coreset_size": Argument(int | None, None, AT_LEAST_1, before=None),
        "neighbors": Argument(str, "exact", one_of("exact", "index", "auto"), before="exact"),
        "reduce": Argument(int | None, None, AT_LEAST_1, before=None),
        "denoise": Argument(float, 0.0, BELOW_HALF, before=0.0),
    },
    leaves_out=lambda arguments: arguments["coreset"] != "composed" and not arguments["denoise"],
    backbone=BackboneUse(strides=(8, 16), depths=(1,)),
    told_by=("layers", "coreset_sampling_ratio", "num_neighbors", "reduce"),
    plain=PlainForm(fixed={"reduce": None}, without=("model.search.effort",)),
    takes_in="patches",
    complete=complete,
    check=check,
    settle=settle,
    need=need,
)

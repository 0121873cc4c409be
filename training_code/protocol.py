"""The conditions under which numbers can be compared, and how they are computed: the one place that lists them.

A new condition or option is one field here; records, tables and effects go over the fields.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training_code.augmentation import AUGMENTATIONS, copies
from training_code.foundation.checking import (
    at_least,
    below_1,
    flag,
    half_at_most,
    no_larger,
    number_or_none,
    one_of,
    part_or_number,
    positive_or_none,
    some_of,
    square,
    square_or_none,
)
from training_code.foundation.errors import InputError, choices
from training_code.options import Checked, divided, option
from training_code.tiling import Tiling, shown, tiling_or_none

NORMALIZATIONS = ("backbone", "imagenet")
#: How photographs are brought to ``image_size``, see `training_code.data.geometry`.
RESIZES = (STRETCH, LETTERBOX, CROP) = ("stretch", "letterbox", "crop")
#: How the backbone computes: float32, or mixed precision in which convolutions and products have 16 bits.
PRECISIONS = ("float32", "bfloat16", "float16")
#: On a processor OpenVINO where it can and on a GPU torch; or one of them everywhere.
RUNTIMES = ("auto", "openvino", "torch")
#: The precisions that OpenVINO has, and their names there.
COMPILED_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
#: Whether features are kept on disk.
MODES = ("auto", "on", "off")
#: Whether training in epochs is logged for TensorBoard.
TENSORBOARD_MODES = ("on", "off")
#: The rules of `training_code.evaluation.thresholds` that can be in force.
THRESHOLD_RULES = ("conformal", "quantile", "mean_sd", "synthetic", "labelled")
#: Those of them that go by ``alpha``.
RULES_BY_ALPHA = ("conformal", "quantile", "labelled")
#: Those that promise a rate of false alarms.
PROMISING = ("conformal", "labelled")
#: Stands for the rule that suits a configuration, see `ExperimentProtocol.threshold`.
AUTO = "auto"


@dataclass(frozen=True)
class ExperimentProtocol(Checked):
    """The conditions under which numbers can be compared.

    Attributes
    ----------
    image_size
        Height and width in pixels that images are resized to; one number for squares.
    resize, center_crop
        How: ``"stretch"``, ``"letterbox"`` (scaled to fit, the rest is left out of everything) or ``"crop"`` (scaled to
        cover). Then height and width of the middle that is cut out, or one number; None for all of it.
    tiling
        None, or tiles that the image is cut into after that, ``{"tile": 512, "overlap": 64}``: the side of a tile in
        pixels, or height and width, and how many pixels a tile shares with the next one. Each tile is an image of its
        own to the detector. Maps are blended where tiles overlap; the score of an image is the highest of its tiles.
    normalization
        ``"backbone"``: mean and deviation that the backbone was trained with. ``"imagenet"``: ImageNet's for every
        backbone, as in anomalib's defaults.
    validation_split
        Part of the defect-free training images that is held out of training by detectors that train in epochs, and to
        which a search adds anomalies. With 0 these detectors have no thresholds. The same part of labelled defects is
        held out by those of them that train on labels.
    labelled
        Which test images with defects are taken out of the test set as labelled ones, which choose thresholds and
        settings and train detectors: a part below 1 of each defect type, or so many of each as a whole number; 0 takes
        none. A dataset may have labelled ones of its own, see `training_code.data.layout`.
    labels
        How many of the labelled images of each defect type are used, None for all. Those that are not used are not
        tested on, either: results for different numbers are of the same test images.
    contamination
        Part of the training images in whose place defective test images stand, passed off as good ones and no longer
        tested on, see `training_code.data.contamination`: for comparing what detectors bear.
    threshold
        The rule by which thresholds are found, see `training_code.evaluation.thresholds`: ``"conformal"``, which
        promises something, ``"quantile"``, ``"mean_sd"``, ``"synthetic"``, or ``"labelled"``, which goes by labelled
        defects and keeps the promise of ``"conformal"``. All are computed, this one is in force. ``"auto"`` is
        ``"labelled"`` for configurations that learn from labels, ``"conformal"`` for all others.
    alpha
        The part of new good images that may be refused. As large a part may have more than ``area`` marked.
    area
        The part of the pixels of a good image that may be marked. With less, good images that differ much from the
        others lift the threshold above real defects; see docs/decisions.md.
    train_images
        How many of the good training images are used, None for all, as the seed draws them: the 4 are among the 8.
        Groups of images of one part stay whole. Results for different numbers are of the same test images.
    augmentation
        Altered copies of the training images that are trained on as well, by detectors that learn in one pass: some of
        ``"rotate"``, ``"flip"`` and ``"light"``, see `training_code.augmentation`.

    Raises
    ------
    InputError
        If a value is out of range; the message names the valid ones.

    Examples
    --------
    >>> ExperimentProtocol(image_size=128).image_size
    (128, 128)
    """

    image_size: tuple[int, int] = option((256, 256), square, columns=("image_height", "image_width"))
    resize: str = option(STRETCH, one_of(RESIZES), later=True)
    center_crop: tuple[int, int] | None = option(None, square_or_none, later=True)
    normalization: str = option("backbone", one_of(NORMALIZATIONS), needs="backbone", ranked_together=True)
    validation_split: float = option(0.1, half_at_most)
    labelled: float | int = option(0, part_or_number, later=True)
    labels: int | None = option(None, number_or_none, columns=("labels_of_each_type",), later=True)
    contamination: float = option(0.0, half_at_most, later=True)
    threshold: str = option(AUTO, one_of((AUTO, *THRESHOLD_RULES)), columns=("threshold_rule",), afterwards=True)
    alpha: float = option(0.05, below_1, afterwards=True)
    area: float = option(0.05, below_1, afterwards=True)
    tiling: Tiling | None = option(None, tiling_or_none, columns=("tile", "tile_overlap"), later=True)
    augmentation: tuple[str, ...] = option((), some_of((*AUGMENTATIONS,)), needs="one pass", later=True)
    train_images: int | None = option(None, number_or_none, columns=("train_images_drawn",), later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.center_crop == self.image_size:  # which cuts nothing off, and makes no other run
            object.__setattr__(self, "center_crop", None)
        no_larger("center_crop", self.seen_size, "image_size", self.image_size)
        if self.tiling is not None:
            whole = "image_size" if self.center_crop is None else "center_crop"
            no_larger("tiling: tile", self.tiling.tile, whole, self.seen_size)

    @property
    def identifying(self) -> dict[str, Any]:
        """The conditions that are part of a run's identity, with their values."""
        found = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            silent = entry.metadata.get("later") and value == entry.default
            if not silent and not entry.metadata.get("afterwards"):
                found[entry.name] = dataclasses.asdict(value) if isinstance(value, Tiling) else value
        return found

    @property
    def seen_size(self) -> tuple[int, int]:
        """Height and width in pixels of what detectors see of a photograph, and of its map: resized, and cut out."""
        return self.center_crop or self.image_size

    @property
    def network_size(self) -> tuple[int, int]:
        """Height and width in pixels of what a network gets at once: of a tile, or of all that is seen."""
        return self.seen_size if self.tiling is None else self.tiling.tile

    @property
    def tiles(self) -> int:
        """The number of tiles of an image."""
        return 1 if self.tiling is None else len(self.tiling.places(self.seen_size))

    @property
    def copies(self) -> int:
        """The number of altered copies of a training image."""
        return copies(self.augmentation, self.seen_size)

    def for_configuration(self, learns_from_labels: bool) -> "ExperimentProtocol":
        """Return the protocol with the rule for thresholds that ``"auto"`` stands for."""
        rule = "labelled" if learns_from_labels else "conformal"
        return dataclasses.replace(self, threshold=rule) if self.threshold == AUTO else self

    def row(self) -> dict[str, Any]:
        """Return the values by column, see `columns`."""
        found: dict[str, Any] = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            columns = entry.metadata.get("columns", (entry.name,))
            if isinstance(value, Tiling):
                value = value.row()
            elif entry.name == "augmentation":
                value = ", ".join(value) or None
            elif isinstance(value, tuple) and len(columns) == 1:
                value = shown(value)
            cells = value if isinstance(value, tuple) else (value,) * len(columns)  # None has no members
            found |= dict(zip(columns, cells, strict=True))
        return found


@dataclass(frozen=True)
class ComputeOptions(Checked):
    """How numbers are computed: options with little or no influence on them.

    Attributes
    ----------
    backbone_precision
        ``"float32"``; or mixed precision, ``"bfloat16"``, and ``"float16"`` on a GPU: faster, with features that differ
        a little.
    channels_last
        Whether the backbone computes with the channels side by side in memory, which suits GPUs in mixed precision.
    backbone_runtime
        ``"auto"``: OpenVINO on a processor, torch on a GPU and for what OpenVINO cannot take; or one of the two.
    feature_store
        Whether features are kept on disk and shared with other configurations: ``"auto"`` where those of all images fit
        into the cache and reading them is faster than computing them, ``"on"``, ``"off"``. Decoded images and coresets
        are shared in any case.
    train_batch_size, eval_batch_size, num_workers
        As in anomalib; none has an influence on the numbers, but for ``train_batch_size`` of detectors that train in
        epochs and have no ``batch_size`` of their own.
    memory_limit
        Memory of the host in GiB that features, and all that is made of them, may take; None for 60 % of what the
        machine or its control group has. The libraries and the network take about 1 GiB beside that.
    tensorboard
        ``"on"``: training in epochs is logged for TensorBoard, into the folder of the run; ``"off"``.

    Raises
    ------
    InputError
        If a value is not valid, or two do not fit each other; the message names the valid ones.

    Examples
    --------
    On a processor ``"auto"`` is OpenVINO, and batch sizes decide nothing:

    >>> ComputeOptions(eval_batch_size=8).deciding_about(backbone=True, gpu=False)
    {'backbone_precision': 'float32', 'backbone_runtime': 'openvino'}
    """

    backbone_precision: str = option("float32", one_of(PRECISIONS), needs="backbone")
    channels_last: bool = option(False, flag, needs="backbone")
    backbone_runtime: str = option("auto", one_of(RUNTIMES), needs="backbone")
    feature_store: str = option("auto", one_of(MODES), needs="kept features")
    train_batch_size: int = option(32, at_least(1), needs="common batches")
    eval_batch_size: int = option(32, at_least(1))
    num_workers: int = option(0, at_least(0))
    memory_limit: float | None = option(None, positive_or_none)
    tensorboard: str = option("on", one_of(TENSORBOARD_MODES), needs="epochs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone_runtime == "openvino" and self.backbone_precision not in COMPILED_PRECISIONS:
            raise InputError(
                f"backbone_runtime='openvino' does not compute in {self.backbone_precision}; valid: "
                f"{choices(COMPILED_PRECISIONS)}"
            )

    def deciding_about(self, backbone: bool, gpu: bool) -> dict[str, Any]:
        """Return the options that influence numbers, with the values that take effect: a part of a run's identity.

        Batch sizes are not among them. What is computed image by image does not depend on them, and a detector that
        trains in epochs has its ``batch_size`` among its arguments.

        Parameters
        ----------
        backbone
            Whether the detector has one; without one none of them decides anything.
        gpu
            Whether there is a GPU. ``backbone_runtime="auto"`` becomes ``"torch"`` on one; on a processor it becomes
            ``"openvino"``, which stands for OpenVINO wherever it can take the network, without ``channels_last``, which
            OpenVINO does not know.
        """
        if not backbone:
            return {}
        found = {
            entry.name: getattr(self, entry.name)
            for entry in dataclasses.fields(self)
            if entry.metadata["needs"] == "backbone"
        }
        if self.backbone_runtime == "auto":
            compiled = not gpu and self.backbone_precision in COMPILED_PRECISIONS
            found["backbone_runtime"] = "openvino" if compiled else "torch"
        if found["backbone_runtime"] == "openvino":
            del found["channels_last"]
        return found

    @classmethod
    def of_a_backbone(cls) -> tuple[str, ...]:
        """Return the names of the options that decide about the features of a backbone."""
        return tuple(entry.name for entry in dataclasses.fields(cls) if entry.metadata["needs"] == "backbone")


#: The default options.
DEFAULT_COMPUTE = ComputeOptions()


def read_options(
    given: Mapping[str, Any], protocol: Mapping[str, Any], compute: Mapping[str, Any]
) -> tuple[ExperimentProtocol, ComputeOptions]:
    """Return what an experiment was given, checked.

    ``given`` are options of both kinds by name, ``protocol`` and ``compute`` more of them, of one kind each.

    Raises
    ------
    InputError
        If a name is unknown or given twice, or a value is not valid.
    """
    kinds = {"protocol": (ExperimentProtocol, protocol), "compute": (ComputeOptions, compute)}
    of_protocol, of_compute = divided(given, kinds)
    return ExperimentProtocol(**of_protocol), ComputeOptions(**of_compute)

"""The conditions under which numbers can be compared, and how they are computed: the one place that lists them.

A new condition or option is one field here; records, tables and effects go over the fields.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training_code.foundation.checking import (
    at_least,
    below_1,
    flag,
    half_at_most,
    number_or_none,
    one_of,
    part_or_number,
    positive_or_none,
    square,
    square_or_none,
)
from training_code.foundation.errors import InputError, choices, unknown
from training_code.options import Checked, option

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
    threshold: str = option(AUTO, one_of((AUTO, *THRESHOLD_RULES)), columns=("threshold_rule",), afterwards=True)
    alpha: float = option(0.05, below_1, afterwards=True)
    area: float = option(0.05, below_1, afterwards=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.center_crop == self.image_size:  # which cuts nothing off, and makes no other run
            object.__setattr__(self, "center_crop", None)
        cut, size = self.center_crop, self.image_size
        if cut is not None and any(kept > side for kept, side in zip(cut, size, strict=True)):
            own, whole = (f"{height} × {width}" for height, width in (cut, size))
            raise InputError(f"center_crop={own} is larger than image_size={whole}; valid: 32 × 32 to {whole}, or None")

    @property
    def network_size(self) -> tuple[int, int]:
        """Height and width of the images that networks see."""
        return self.center_crop or self.image_size

    @classmethod
    def columns(cls, ranked_together: bool | None = None) -> tuple[str, ...]:
        """Return the columns that tables have for these conditions.

        Parameters
        ----------
        ranked_together
            Only conditions whose values are ranked together, or are not; None for all.
        """
        chosen = [
            entry
            for entry in dataclasses.fields(cls)
            if ranked_together in (None, entry.metadata.get("ranked_together", False))
        ]
        return tuple(name for entry in chosen for name in entry.metadata.get("columns", (entry.name,)))

    @classmethod
    def afterwards(cls) -> tuple[str, ...]:
        """Return the names of the conditions that can be changed when a run has ended."""
        return tuple(entry.name for entry in dataclasses.fields(cls) if entry.metadata.get("afterwards"))

    @property
    def identifying(self) -> dict[str, Any]:
        """The conditions that are part of a run's identity, with their values."""
        found = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            silent = entry.metadata.get("later") and value == entry.default
            if not silent and not entry.metadata.get("afterwards"):
                found[entry.name] = value
        return found

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
            if isinstance(value, tuple) and len(columns) == 1:
                value = " × ".join(map(str, value))
            found |= dict(zip(columns, value if isinstance(value, tuple) else (value,), strict=True))
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
        Whether features are kept on disk and shared with other configurations: ``"auto"`` where reading them is faster
        than computing them, ``"on"``, ``"off"``. Decoded images and coresets are shared in any case.
    train_batch_size, eval_batch_size, num_workers
        As in anomalib; none has an influence on the numbers, but for ``train_batch_size`` of detectors that train in
        epochs and have no ``batch_size`` of their own.
    memory_limit
        Memory of the host in GiB that a run may take; None for 60 % of what the machine or its control group has.
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

    Parameters
    ----------
    given
        Options of both kinds by name.
    protocol, compute
        More of them, of one kind each.

    Raises
    ------
    InputError
        If a name is unknown or given twice, or a value is not valid.
    """
    kinds = (("protocol", ExperimentProtocol, protocol), ("compute", ComputeOptions, compute))
    for kind, cls, options in kinds:
        if not isinstance(options, Mapping):
            raise InputError(f"{kind}={options!r} must be a mapping of names to values; valid: {choices(cls.names())}")
        for name in options:
            if name not in cls.names():
                raise unknown(f"key of {kind}", name, cls.names())
            if name in given:
                raise InputError(f"{name} is given twice: in {kind} and on its own")
    valid = [name for _, cls, _ in kinds for name in cls.names()]
    for name in given:
        if name not in valid:
            raise unknown("argument of Experiment", name, ["dataset", "seed", "results", "protocol", "compute", *valid])
    values = {**given, **protocol, **compute}
    of_protocol, of_compute = ({name: values[name] for name in cls.names() if name in values} for _, cls, _ in kinds)
    return ExperimentProtocol(**of_protocol), ComputeOptions(**of_compute)

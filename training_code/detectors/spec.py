"""`DetectorSpec`: the specification of a detector, as data. Importing it loads no deep learning library."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from training_code.backbones.backbone import Backbone
from training_code.backbones.published import WeightFile
from training_code.detectors.arguments import AT_LEAST_1, Argument
from training_code.detectors.extent import Extent, Need, no_need, no_settling
from training_code.detectors.plain_form import PlainForm
from training_code.foundation.errors import InputError
from training_code.foundation.program import missing_extra
from training_code.options import Trait

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule


@dataclass(frozen=True)
class Epochs:
    """The defaults of a detector that trains in epochs.

    Attributes
    ----------
    max_epochs
        How many at most.
    batch_size
        Images in a batch; None for the experiment's ``train_batch_size``.
    patience
        After how many epochs without progress training stops; None for never.
    stops_early
        Whether there is a loss on held-out images that ``patience`` can go by.
    """

    max_epochs: int
    batch_size: int | None = None
    patience: int | None = None
    stops_early: bool = True

    @property
    def arguments(self) -> dict[str, Argument]:
        """The arguments of training that a configuration may set."""
        arguments = {
            "max_epochs": Argument(int, self.max_epochs, AT_LEAST_1),
            "batch_size": Argument(int | None, self.batch_size, AT_LEAST_1),
        }
        return arguments | ({"patience": Argument(int | None, self.patience, AT_LEAST_1)} if self.stops_early else {})


@dataclass(frozen=True)
class BackboneUse:
    """Which layers of a backbone a detector takes if none are given.

    Attributes
    ----------
    strides
        Pixels of the image for each position of the feature maps: those of the paper's layers.
    depths
        The same for networks whose maps all have one size: relative depths, 1 for the last block.
    required
        Strides that the layers must have; any if empty.
    trained
        Whether it is trained with the detector: torch then computes it, whatever is asked for of frozen ones.
    tokens
        Whether it has to be a transformer, of which the detector takes tokens.
    """

    strides: tuple[int, ...]
    depths: tuple[float, ...]
    required: tuple[int, ...] = ()
    trained: bool = False
    tokens: bool = False


def _nothing_to_complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    return arguments


def _fits(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    return


def never(arguments: Mapping[str, Any]) -> bool:
    """Return False whatever the arguments are."""
    return False


def always(arguments: Mapping[str, Any]) -> bool:
    """Return True whatever the arguments are."""
    return True


def _no_files(arguments: dict[str, Any]) -> dict[str, str]:
    return {}


def _no_weights(arguments: Mapping[str, Any]) -> tuple[WeightFile, ...]:
    return ()


@dataclass(frozen=True)
class DetectorSpec:
    """A detector.

    Attributes
    ----------
    name
        anomalib's name of its class.
    path
        Where the class lies: ``module:class``. It is anomalib's own, a subclass of it, or one with the same interface.
        It may have three methods more: ``share(cache)`` if it shares more than features with other configurations,
        ``set_normalization(mean, std)`` if it normalizes images for its backbone itself, and ``describe_training()``
        if the record keeps something of its fit.
    notebook
        The notebook with its configurations, by which detectors are ordered.
    arguments
        Those of the constructor, with defaults; a test holds them equal to it.
    epochs
        How it trains in epochs; None where one pass over the images is all there is.
    backbone
        Which layers it takes; None for a detector with networks of its own.
    normalizes
        Whether images are normalized before they reach the detector.
    leaves_out
        Given arguments, returns whether thresholds rest on all good images, each of which the detector leaves out
        afterwards; the class is then a `training_code.detectors.leaving_out.LeavesOut`. Other detectors hold a part of
        them out of training.
    learns_from_labels
        Given arguments, returns whether it is trained on labelled defects with masks beside the good images.
    takes_in
        What it keeps of good images that are added to it afterwards: their sums, or patches of them; None where it has
        to be trained anew. The class of others is a `training_code.detectors.teaching.Teachable`.
    told_by
        Arguments that label its configurations in tables.
    paper
        Arguments that make networks small and training short, with the paper's values; a run below one of them counts
        as reduced.
    plain
        How it becomes a checkpoint of anomalib's own class; None where anomalib has none.
    small
        Arguments with which it is trained within seconds on a processor, as tests try it; empty for detectors that
        have tests of their own.
    not_exported
        Why it cannot be exported to other runtimes, in half a sentence; None where it can.
    published
        The files in ``weights/`` that a configuration may need beside that of its backbone.
    needs
        Given arguments, returns those of them that are needed.
    complete
        Given arguments and backbone, returns the arguments with those filled in that depend on the backbone.
    check
        Given arguments, image size and number of training images, raises an `InputError` for what does not fit.
    shows_places
        Given arguments, returns whether its maps say where in an image an anomaly is. Maps of others have the score of
        their image everywhere; their runs have no metrics and no thresholds for pixels.
    settle
        Given arguments and the extent of what it is fitted to, returns the arguments with those decided that stand for
        what suits the extent.
    need
        Given arguments and extent, returns what the fit needs; None where that does not grow with the images.
    files
        Given arguments, returns the hashes of the files that the numbers depend on, by argument.
    before_training
        Function, ``module:name``, that is called with the detector, the run's identity and its training images before
        training, and returns what the record keeps of it; None if nothing has to be done.
    combines
        The argument with the runs that it is made of; None for a detector that is trained.
    stages
        The path of its runs, ``module:function``: called with the prepared run, the conditions and the places.
    """

    name: str
    path: str
    notebook: str
    arguments: Mapping[str, Argument]
    epochs: Epochs | None = None
    backbone: BackboneUse | None = None
    normalizes: bool = True
    leaves_out: Callable[[Mapping[str, Any]], bool] = never
    learns_from_labels: Callable[[Mapping[str, Any]], bool] = never
    takes_in: Literal["sums", "patches"] | None = None
    told_by: tuple[str, ...] = ()
    paper: Mapping[str, float] = field(default_factory=dict)
    plain: PlainForm | None = None
    small: Mapping[str, Any] = field(default_factory=dict)
    not_exported: str | None = None
    published: tuple[WeightFile, ...] = ()
    needs: Callable[[Mapping[str, Any]], tuple[WeightFile, ...]] = _no_weights
    complete: Callable[[dict[str, Any], Backbone | None], dict[str, Any]] = _nothing_to_complete
    check: Callable[[dict[str, Any], tuple[int, int], int], None] = _fits
    shows_places: Callable[[Mapping[str, Any]], bool] = always
    settle: Callable[[dict[str, Any], Extent], dict[str, Any]] = no_settling
    need: Callable[[Mapping[str, Any], Extent], Need | None] = no_need
    files: Callable[[dict[str, Any]], dict[str, str]] = _no_files
    before_training: str | None = None
    combines: str | None = None
    stages: str = "training_code.pipeline:run_stages"

    @property
    def all_arguments(self) -> dict[str, Argument]:
        """The arguments of the constructor and those of training."""
        return {**self.arguments, **(self.epochs.arguments if self.epochs else {})}

    @property
    def defaults(self) -> dict[str, Any]:
        """All arguments with their defaults."""
        return {name: argument.default for name, argument in self.all_arguments.items()}

    @property
    def later(self) -> dict[str, Any]:
        """The arguments that came when there were runs already, with the values that these have."""
        return {name: argument.before for name, argument in self.all_arguments.items() if argument.came_later}

    @property
    def trains_backbone(self) -> bool:
        """Whether its backbone is trained with it."""
        return self.backbone is not None and self.backbone.trained

    @property
    def fits_in_one_pass(self) -> bool:
        """Whether it learns in one pass over good images, without epochs and without other runs."""
        return self.epochs is None and self.combines is None and not self.learns_from_labels(self.defaults)

    def check_augmentation(self, augmentation: Sequence[str]) -> None:
        """Refuse copies of images, in an `InputError`, for a detector that alters them itself or needs labels."""
        if augmentation and self.combines is None and not self.fits_in_one_pass:
            raise InputError(
                f"augmentation={list(augmentation)} is for detectors that learn from good images in one pass, and "
                f"{self.name} does not; valid for it: []"
            )

    @property
    def traits(self) -> frozenset[Trait]:
        """The traits that options of an experiment may need to have an effect on its runs."""
        has: dict[Trait, bool] = {
            "backbone": self.backbone is not None,
            "kept features": self.normalizes,  # the others take features of altered images, which never recur
            "common batches": self.epochs is None or self.epochs.batch_size is None,
            "epochs": self.epochs is not None,
            "one pass": self.fits_in_one_pass,
        }
        return frozenset(trait for trait, there in has.items() if there)

    def load(self) -> type["AnomalibModule"]:
        """Return the class; this imports anomalib and torch.

        Raises
        ------
        InputError
            If packages of an extra are not installed; the message names the extra.
        """
        try:
            return load_object(self.path)
        except ModuleNotFoundError as error:
            if sentence := missing_extra(error):
                raise InputError(sentence) from None
            raise


def load_object(path: str) -> Any:
    """Return what ``module:name`` names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)

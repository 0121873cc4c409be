"""Detectors that can say what they would say of a training image if it had not been among them."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from anomalib.data import ImageBatch
from anomalib.models.components import AnomalibModule
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Compose, Resize

#: Scores of shape (images, 1) and maps of shape (images, 1, height, width).
Found = tuple[torch.Tensor, torch.Tensor]


class TooLittleLeftError(ValueError):
    """Without a group of images too little is left of what a detector was trained on."""


class Features(Protocol):
    """Features of images in batches, as `LeavesOut.embed` returns them; a list is one."""

    def append(self, batch: torch.Tensor, /) -> None:
        """Add the features of some images."""


class LeavesOut(AnomalibModule):
    """A detector that is fitted in one pass, and leaves images out of what it was fitted to without another fit.

    Put it before anomalib's class among the bases.

    Attributes
    ----------
    trained_on
        Path of each training image, in the order in which they came.
    kept
        Their features, where `keep_features` was called before training; `forget_features` lets go.
    by_position
        Whether a feature is compared with those of its own position alone, so that each tile of an image has its own.
    """

    trained_on: list[str]
    kept: Any
    by_position = False
    _keeps = False

    def keep_features(self) -> None:
        """Have the features of the training images kept until `forget_features`; call it before training."""
        self.trained_on, self.kept, self._keeps = [], None, True

    def forget_features(self) -> None:
        """Let go of the features of the training images."""
        self.trained_on, self.kept, self._keeps = [], None, False

    def collection(self) -> Features:
        """Return where features that `embed` returns are put together, which `recall` and `left_out` take."""
        return []

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> Any:
        """Collect the features of a batch, as anomalib does, and note its images."""
        self.note(batch)
        return super().training_step(batch, *args, **kwargs)

    def note(self, batch: ImageBatch) -> None:
        """Note the images of a batch of training, if their features are asked to be kept."""
        if self._keeps:
            self.trained_on += batch.image_path or []

    def keep(self, features: Any) -> None:
        """Keep the features of the training images, if that was asked for."""
        if self._keeps:
            self.kept = features

    def recall(self, features: Any, labelled: torch.Tensor) -> None:
        """Keep the features of the training images of a detector that was loaded, as if it had just been trained.

        Parameters
        ----------
        features
            A `collection` of those of the images in `trained_on`, which are in the order of the dataset.
        labelled
            Which of the images are labelled defects, shape (N,), bool.
        """
        self.keep(features)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels that images are resized to."""
        assert isinstance(self.pre_processor, PreProcessor) and isinstance(self.pre_processor.transform, Compose)
        height, width = next(each.size for each in self.pre_processor.transform.transforms if isinstance(each, Resize))
        return height, width

    def collect(self, features: torch.Tensor) -> None:
        """Take the features of training images, as `embed` returns them; where features are compared by position."""
        raise NotImplementedError

    def by_tile(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of features as those of single tiles, in their order: as they are where images are no tiles."""
        return maps

    @abstractmethod
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch of images that were transformed, as training collects them."""

    @abstractmethod
    def left_out(self, groups: torch.Tensor, others: Any, of_others: torch.Tensor) -> Iterator[Found]:
        """Return scores and maps as they would be if the group of an image had not been trained on.

        Parameters
        ----------
        groups
            Shape (N,), integers, in the order of `trained_on`: images with equal numbers are left out together.
        others
            A `collection` of the features of further images.
        of_others
            Shape (M,): which group each of the further images leaves out.

        Returns
        -------
        iterator of Found
            Of the N training images, then of the M others, some at a time.

        Raises
        ------
        TooLittleLeftError
            If too little is left without a group.
        """

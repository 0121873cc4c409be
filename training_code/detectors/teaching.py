"""Detectors to which good images can be added after they were fitted, without fitting them again."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from training_code.detectors.leaving_out import LeavesOut


@dataclass(frozen=True)
class Fitted:
    """What a detector that was loaded does not know of its fit.

    Attributes
    ----------
    images
        How many it was fitted to, altered copies among them.
    radius
        The largest distance of a feature of theirs to what was kept, where some were chosen.
    """

    images: int
    radius: float | None = None


class Teachable(LeavesOut):
    """A detector that takes in more good images; see the field ``takes_in`` of its specification."""

    @abstractmethod
    def take_in(self, features: Any, fitted: Fitted, weight: int) -> int | None:
        """Take in the features of good images.

        Parameters
        ----------
        features
            A `collection` of them.
        fitted
            What the detector was fitted to.
        weight
            How many times each image counts, where that makes a difference.

        Returns
        -------
        int or None
            How many of the features are kept; None where they went into sums.
        """

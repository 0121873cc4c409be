"""What a detector says about a set of images, beside the truth."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import inside
from training_code.data.layout import NORMAL
from training_code.foundation.stacks import Images, blank, chunks, joined


@dataclass(frozen=True)
class Predictions:
    """Raw scores and maps of N images of H × W pixels; maps and masks that do not fit into memory lie in files."""

    paths: tuple[Path, ...]
    defect_types: tuple[str, ...]
    scores: NDArray[np.float64]  # (N,), higher is more anomalous
    labels: NDArray[np.bool_]  # (N,), True for abnormal
    maps: Images  # (N, H, W), float32, higher is more anomalous; `OUTSIDE` where it is not looked at
    masks: Images | None = None  # (N, H, W), bool, None where the dataset has no masks

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.scores)

    @property
    def finite(self) -> bool:
        """Whether all scores and maps are; what is not a number would rank below everything, as if it were good."""
        return bool(np.isfinite(self.scores).all() and all(np.isfinite(each).all() for each in self.maps))

    def of_type(self, defect_type: str) -> "Predictions":
        """Return the predictions for the images of one defect type."""
        return self.only(np.array([name == defect_type for name in self.defect_types]))

    def only(self, chosen: NDArray[np.bool_]) -> "Predictions":
        """Return the predictions for some of the images; ``chosen`` has the shape (N,)."""
        return Predictions(
            tuple(path for path, take in zip(self.paths, chosen, strict=True) if take),
            tuple(name for name, take in zip(self.defect_types, chosen, strict=True) if take),
            self.scores[chosen],
            self.labels[chosen],
            self.maps[chosen],
            None if self.masks is None else self.masks[chosen],
        )

    @cached_property
    def areas(self) -> NDArray[np.float64] | None:
        """The part of what is looked at of each image that its mask marks, of shape (N,); None without masks."""
        if self.masks is None:
            return None
        parts = [np.empty(0)]
        for maps, masks in chunks(self.maps, self.masks):
            parts.append(masks.sum(axis=(1, 2)) / np.array([inside(each).size for each in maps], np.float64))
        return np.concatenate(parts)

    @property
    def abnormal_types(self) -> list[str]:
        """The defect types that occur, sorted, without the normal one."""
        return sorted(set(self.defect_types) - {NORMAL})


def together(first: Predictions, second: Predictions) -> Predictions:
    """Return the predictions of two sets of images as one; good images have empty masks where the others have masks."""
    there = first.masks is not None or second.masks is not None
    return Predictions(
        first.paths + second.paths,
        first.defect_types + second.defect_types,
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.labels, second.labels]),
        joined([first.maps, second.maps]),
        joined([_masks(first), _masks(second)]) if there else None,
    )


def _masks(found: Predictions) -> Images:
    return blank(found.maps.shape) if found.masks is None else found.masks

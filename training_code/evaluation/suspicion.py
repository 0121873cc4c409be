"""What a search for strange training images found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspicion:
    """A strange training image.

    Attributes
    ----------
    path
        Its file.
    score
        How strange it is to the others.
    map
        Where, at the size that networks see, of shape (height, width).
    """

    path: Path
    score: float
    map: NDArray[np.float32]


@dataclass(frozen=True)
class Suspicions:
    """The strangest training images, and what they were compared with.

    Attributes
    ----------
    shown
        The strangest first.
    scores
        Of all training images.
    backbone
        Whose features they are.
    image_size
        Height and width in pixels.
    """

    shown: tuple[Suspicion, ...]
    scores: dict[Path, float]
    backbone: str
    image_size: tuple[int, int]

    @property
    def ranked(self) -> list[Path]:
        """All training images, the strangest first."""
        return sorted(self.scores, key=lambda path: -self.scores[path])

    def sentence(self) -> str:
        """Return what was compared with what."""
        height, width = self.image_size
        return (
            f"{len(self.scores):,} training images at {height} × {width} pixels, each compared with the others by "
            f"features of {self.backbone}, the strangest first; strange is not wrong: look at them"
        )

    def table(self, root: Path) -> pd.DataFrame:
        """Return the strangest images with their scores, also in parts of the score in the middle of all."""
        middle = float(np.median(list(self.scores.values())))
        rows = [
            {
                "file": each.path.relative_to(root).as_posix() if each.path.is_relative_to(root) else str(each.path),
                "score": each.score,
                "of the middle": each.score / middle if middle else float("nan"),
            }
            for each in self.shown
        ]
        return pd.DataFrame(rows, columns=["file", "score", "of the middle"])

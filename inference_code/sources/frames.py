"""`Frame` and `FrameSource`: what every source of images gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """An image of a source."""

    name: str  # of the file, the video or the address
    image: Path | NDArray[np.uint8]  # (height, width, 3), RGB
    number: int | None = None  # place in the video or stream, from 0
    time: float | None = None  # seconds since its beginning


class FrameSource(Protocol):
    """What gives frames."""

    #: Number of frames as far as it is known before.
    total: int | None
    #: Whether more may come at any time: what is there is predicted without waiting for a whole batch.
    endless: bool
    #: Whether frames that are too late are dropped.
    live: bool
    #: Whether every image is a file of its own.
    named: bool
    #: What went wrong although frames came; such a source was not read to its end.
    problem: str | None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in their order."""
        ...

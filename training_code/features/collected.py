"""Features of many images to be read position by position: in memory, or in a file where they take too much of it."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import torch

from training_code.foundation.memory import KEPT_PART, POSITIONS_AT_ONCE, allowed
from training_code.foundation.scratch import ScratchFile

# The largest value that the file holds in 16 bits; half of what such a number can be.
_LARGEST = 2.0**15


class Collected:
    """Features of images as batches of shape (images, C, height, width), read again by positions.

    Above `KEPT_PART` of what is allowed they lie in a file, which has no name and ends with the process. It holds 16
    bits of each number: their rounding has a variance below 1e-7 of the square of a feature, which is nothing beside
    the 0.01 that is added to every variance.

    Parameters
    ----------
    batches
        The first ones.

    Attributes
    ----------
    images
        How many there are by now.
    shape
        C, height and width, once there is a batch.
    """

    def __init__(self, batches: Iterable[torch.Tensor] = ()) -> None:
        self.images = 0
        self.shape: tuple[int, int, int] = (0, 0, 0)
        self.device = torch.device("cpu")
        self._batches: list[torch.Tensor] = []
        self._file: ScratchFile | None = None
        self._end = 0  # of the file, in bytes
        self._sizes: list[int] = []  # images of the batches that are in the file
        for batch in batches:
            self.append(batch)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches) + len(self._sizes)

    @property
    def positions(self) -> int:
        """Height times width of the maps."""
        return self.shape[1] * self.shape[2]

    @property
    def in_file(self) -> bool:
        """Whether they lie in a file."""
        return self._file is not None

    def append(self, batch: torch.Tensor) -> None:
        """Add the features of some images.

        Raises
        ------
        OSError
            If the disk is full; the message names what is needed and where.
        OverflowError
            If a feature is too large for the file.
        """
        self.shape, self.device = (batch.shape[1], batch.shape[2], batch.shape[3]), batch.device
        self.images += len(batch)
        if self._file is not None:
            self._write(batch)
            return
        self._batches.append(batch)
        if sum(each.nbytes for each in self._batches) > KEPT_PART * allowed():
            self._file = ScratchFile("features")
            while self._batches:
                self._write(self._batches.pop(0))

    def read(self, part: slice) -> list[torch.Tensor]:
        """Return the features at some positions, as batches of shape (images, C, positions).

        Parameters
        ----------
        part
            As `blocks` gives them.
        """
        if self._file is None:
            return [batch.flatten(2)[:, :, part] for batch in self._batches]
        channels, begin, found = self.shape[0], 0, []
        end = min(part.stop, self.positions)
        for images in self._sizes:
            values = np.empty((images, channels, end - part.start), np.float16)
            self._file.read(2 * channels * (begin * self.positions + images * part.start), values.data)
            found.append(torch.from_numpy(values).to(self.device).float())
            begin += images
        return found

    def _write(self, batch: torch.Tensor) -> None:
        if batch.abs().max() > _LARGEST:
            raise OverflowError(f"a feature is {float(batch.abs().max()):.3g}, above {_LARGEST:.0f}: too large to keep")
        assert self._file is not None
        flat = batch.flatten(2).half().cpu()
        for block in blocks(self):
            self._end = self._file.write(self._end, flat[:, :, block].contiguous().numpy().data)
        self._sizes.append(len(batch))


def blocks(*collections: Collected) -> Iterator[slice]:
    """Return parts of the positions that are to be read one after the other: all at once where all is in memory."""
    positions = max(each.positions for each in collections)
    size = POSITIONS_AT_ONCE if any(each.in_file for each in collections) else positions
    bounds = [*range(0, positions, size), positions]
    return (slice(begin, end) for begin, end in pairwise(bounds))

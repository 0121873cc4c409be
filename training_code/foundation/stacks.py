"""Stacks of images of one size, anomaly maps and masks for instance, that need not lie in memory.

A stack that fits is a plain array. A larger one is a `Stack`, of which some images at a time are read from a temporary
file. It is read and written explicitly rather than mapped, so that resident memory stays small.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from training_code.foundation.memory import allowed
from training_code.foundation.scratch import ScratchFile

#: Part of the memory of a run up to which a stack is an array. Two sets of maps are there at a time, those of the
#: calibration and of the test images, and ranking the pixels of one takes some five times its size beside it: 7/16.
PART = 1 / 16
#: Bytes that are read at a time. What is computed of them takes up to ten times as much; more are no faster.
CHUNK = 2 * 2**20


def fits(size: float) -> bool:
    """Return whether a stack of ``size`` bytes is an array in memory."""
    return size <= PART * allowed()


class _File:
    """Images of one size in a temporary file, which is gone with the object or the process."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._each = math.prod(shape[1:]) * self.dtype.itemsize
        self._file = ScratchFile("maps", shape[0] * self._each)

    def write(self, row: int, images: NDArray) -> None:
        """Write images from a row on; at least one."""
        self._file.write(row * self._each, np.ascontiguousarray(images, self.dtype).data)

    def read(self, rows: NDArray[np.int64], into: NDArray) -> None:
        """Read the images in some rows, at least one; those that follow each other at once."""
        begins = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
        for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
            self._file.read(int(rows[begin]) * self._each, into[begin:end].data)


class _Array:
    """The same in memory."""

    def __init__(self, array: NDArray) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, rows: NDArray[np.int64], into: NDArray) -> None:
        into[:] = self._array[rows]


class Stack:
    """Images of one size, most of them in a file; a part of it, or several together, are views.

    ``stack[3]`` is an array, the third image; ``stack[2:5]``, ``stack[[7, 3]]`` and ``stack[chosen]`` are stacks.
    ``numpy.asarray`` reads all of it.

    Parameters
    ----------
    sources
        Where the images lie.
    places
        Shape (2, N): which source each image lies in, and its row there.
    """

    def __init__(self, sources: Sequence[_File | _Array], places: NDArray[np.int64]) -> None:
        self._sources, self._places = tuple(sources), places

    @property
    def shape(self) -> tuple[int, ...]:
        """That of an array: number, height and width of the images."""
        return self._places.shape[1], *self._sources[0].shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """The type of a pixel."""
        return self._sources[0].dtype

    def __len__(self) -> int:
        """Return the number of images."""
        return self._places.shape[1]

    def __iter__(self) -> Iterator[NDArray]:
        """Return image by image; several are read at once."""
        for (some,) in chunks(self):
            yield from some

    @overload
    def __getitem__(self, chosen: int | np.integer) -> NDArray: ...
    @overload
    def __getitem__(self, chosen: slice | NDArray | list[int]) -> "Stack": ...
    def __getitem__(self, chosen: Any) -> "NDArray | Stack":
        """Return an image, or a stack of some of them, which are not read yet."""
        if isinstance(chosen, int | np.integer):
            return np.asarray(self[[int(chosen)]])[0]
        return Stack(self._sources, self._places[:, chosen])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        """Read all images; numpy calls this."""
        found = np.empty(self.shape, self.dtype)
        of, rows = self._places
        for number, source in enumerate(self._sources):
            places = np.flatnonzero(of == number)
            if not len(places):
                continue
            if len(places) == len(found):
                source.read(rows, found)
            else:
                own = np.empty((len(places), *found.shape[1:]), found.dtype)
                source.read(rows[places], own)
                found[places] = own
        return found if dtype is None else found.astype(dtype, copy=False)

    def any(self) -> bool:
        """Return whether any pixel of any image is not 0."""
        return any(each.any() for each in self)

    def all(self) -> bool:
        """Return whether no pixel of any image is 0."""
        return all(each.all() for each in self)


#: Shape (N, height, width).
Images = NDArray[Any] | Stack


def in_files(*stacks: Images | None) -> bool:
    """Return whether any of some stacks is not in memory as a whole."""
    return any(isinstance(each, Stack) for each in stacks)


class Filling:
    """A stack of ``count`` images that come one after the other or in any order."""

    def __init__(self, count: int) -> None:
        self._count, self._filled = count, 0
        self._array: NDArray | None = None
        self._file: _File | None = None

    def put(self, images: NDArray, places: Sequence[int] | None = None) -> None:
        """Take some images, of shape (n, height, width), to their places or behind those that came before."""
        if not len(images):
            return
        if self._array is None and self._file is None:
            shape = (self._count, *images.shape[1:])
            if fits(math.prod(shape) * images.dtype.itemsize):
                self._array = np.empty(shape, images.dtype)
            else:
                self._file = _File(shape, images.dtype)
        if self._array is not None:
            into = slice(self._filled, self._filled + len(images)) if places is None else places
            self._array[into] = images
        elif self._file is not None and places is None:
            self._file.write(self._filled, images)
        elif self._file is not None and places is not None:
            for place, each in zip(places, images, strict=True):
                self._file.write(place, each)
        self._filled += len(images)

    def done(self) -> Images:
        """Return the stack of the images that came."""
        if self._file is not None:
            return Stack([self._file], np.array([np.zeros(self._filled, np.int64), np.arange(self._filled)]))
        found = np.empty((0, 0, 0), np.float32) if self._array is None else self._array
        return found if self._filled == len(found) else found[: self._filled]


def stacked(count: int, images: Iterable[NDArray]) -> Images:
    """Return the stack of ``count`` images that are made one after the other."""
    filling = Filling(count)
    for each in images:
        filling.put(each[None])
    return filling.done()


def joined(stacks: Sequence[Images]) -> Images:
    """Return stacks as one: an array where all are and it fits, otherwise a view of them."""
    arrays = [each for each in stacks if not isinstance(each, Stack)]
    if len(arrays) == len(stacks) and fits(sum(each.nbytes for each in arrays)):
        return np.concatenate(arrays)
    sources: list[_File | _Array] = []
    places = []
    for each in stacks:
        one = each if isinstance(each, Stack) else _in_memory(each, np.arange(len(each)))
        places.append(one._places + np.array([[len(sources)], [0]]))
        sources += one._sources
    return Stack(sources, np.concatenate(places, axis=1))


def blank(shape: tuple[int, ...], dtype: DTypeLike = bool) -> Images:
    """Return images of zeros: an array where that fits, otherwise one image that stands for all."""
    if fits(math.prod(shape) * np.dtype(dtype).itemsize):
        return np.zeros(shape, dtype)
    return _in_memory(np.zeros((1, *shape[1:]), dtype), np.zeros(shape[0], np.int64))


def chunks(*stacks: Images) -> Iterator[tuple[NDArray, ...]]:
    """Return some images at a time, the same ones of each stack, as arrays.

    Examples
    --------
    >>> [each.shape for (each,) in chunks(np.zeros((5, 512, 512), np.float32))]
    [(2, 512, 512), (2, 512, 512), (1, 512, 512)]
    """
    first = stacks[0]
    step = max(1, CHUNK // max(1, math.prod(first.shape[1:]) * first.dtype.itemsize))
    for begin in range(0, len(first), step):
        yield tuple(np.asarray(each[begin : begin + step]) for each in stacks)


def _in_memory(array: NDArray, rows: NDArray[np.int64]) -> Stack:
    return Stack([_Array(array)], np.array([np.zeros(len(rows), np.int64), rows]))

"""Detectors that get images in tiles: each tile is an image of its own, and what is found is put together again.

anomalib's ``Tiler`` pads the right and lower border or resizes the whole image for it, and averages where tiles
overlap, which shows their borders in the map.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from anomalib.data import Batch, ImageBatch, InferenceBatch
from anomalib.models.components import AnomalibModule
from torch import nn

from training_code.detectors.leaving_out import Found, LeavesOut
from training_code.tiling import Tiling

M = TypeVar("M", bound=AnomalibModule)
#: Tiles that a network gets at once: with more of them large images would fill the memory.
AT_ONCE = 8

#: Scores and maps of some tiles, of shape (tiles, 3, height, width), all of the same place if that was asked for.
Find = Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]


class Tiles:
    """The tiles of images of one size, and how maps of them become one.

    The weight of a tile at a pixel falls linearly with the distance from its borders to those of its neighbors; the
    weights of all tiles add up to 1.

    Attributes
    ----------
    image_size, size
        Height and width in pixels of the images, and of a tile.
    places
        Where each tile begins: top and left.
    """

    def __init__(self, tiling: Tiling, image_size: tuple[int, int]) -> None:
        self.image_size, self.size = image_size, tiling.tile
        self.places = tiling.places(image_size)
        begins = [sorted(set(side)) for side in zip(*self.places, strict=True)]
        rows, columns = (
            _weights(begin, tile, side) for begin, tile, side in zip(begins, self.size, image_size, strict=True)
        )
        self._weights = [(rows[top], columns[left]) for top, left in self.places]

    def __len__(self) -> int:
        """Return the number of tiles of an image."""
        return len(self.places)

    def cut(self, images: torch.Tensor, tile: int) -> torch.Tensor:
        """Return one tile of images, or masks, of shape (..., height, width), as a view."""
        (top, left), (height, width) = self.places[tile], self.size
        return images[..., top : top + height, left : left + width]

    def in_order(self, images: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the tiles of images or masks, shape (batch, ..., height, width), all of one before the next one."""
        pairs = [(image, tile) for image in range(len(images)) for tile in range(len(self))]
        for part in _parts(pairs):
            yield torch.stack([self.cut(images[image], tile) for image, tile in part])

    def find(self, images: torch.Tensor, find: Find, one_place: bool = False) -> Found:
        """Return the highest score of the tiles of each image, of shape (batch, 1), and the blended map.

        Parameters
        ----------
        images
            Shape (batch, 3, height, width).
        find
            Called with `AT_ONCE` tiles at most, and the number of the first one.
        one_place
            Whether it gets tiles of one place only.
        """
        together = _Together(self, len(images), images.device)
        every = [(image, tile) for image in range(len(images)) for tile in range(len(self))]
        places = [[pair for pair in every if pair[1] == tile] for tile in range(len(self))] if one_place else [every]
        for part in (part for pairs in places for part in _parts(pairs)):
            scores, maps = find(torch.stack([self.cut(images[image], tile) for image, tile in part]), part[0][1])
            for pair, score, own in zip(part, scores, maps, strict=True):
                together.add(pair, score, own)
        return together.found

    def join(self, found: Iterable[Found]) -> Iterator[Found]:
        """Yield scores and maps of images, one at a time, of those of their tiles in the order of `in_order`."""
        together: _Together | None = None
        count = 0
        for scores, maps in found:
            for score, own in zip(scores, maps, strict=True):
                together = together or _Together(self, 1, maps.device)
                together.add((0, count), score, own)
                count += 1
                if count == len(self):
                    yield together.found
                    together, count = None, 0

    def weights(self, tile: int, device: torch.device) -> torch.Tensor:
        """Return the weight of each pixel of a tile, of its shape."""
        rows, columns = self._weights[tile]
        return (rows[:, None] * columns).to(device)


class _Together:
    """Scores and maps of images, to which tiles are added one by one."""

    def __init__(self, tiles: Tiles, images: int, device: torch.device) -> None:
        self._tiles = tiles
        self._scores = torch.full((images, 1), -torch.inf, device=device)
        self._maps = torch.zeros(images, 1, *tiles.image_size, device=device)

    @property
    def found(self) -> Found:
        return self._scores, self._maps

    def add(self, pair: tuple[int, int], score: torch.Tensor, own: torch.Tensor) -> None:
        """Add what was found for an image and a tile."""
        image, tile = pair
        self._scores[image] = torch.maximum(self._scores[image], score.float().reshape(1))
        weights = self._tiles.weights(tile, own.device)
        self._tiles.cut(self._maps[image, 0], tile).addcmul_(weights, own.float().reshape(self._tiles.size))


class Tiled(AnomalibModule):
    """Before a detector's class among the bases: its model gets tiles."""

    tiles: Tiles

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the model gets, which some detectors ask for while they are built."""
        return self.tiles.size

    def forward(self, batch: torch.Tensor, *_: Any, **__: Any) -> InferenceBatch:
        """Return scores and maps of images with values from 0 to 1."""
        return predict(self.model, self.tiles, batch, self.pre_processor)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Add scores and maps to a batch of images that were transformed, as anomalib does."""
        assert batch.image is not None
        return batch.update(**predict(self.model, self.tiles, batch.image)._asdict())


class TiledLeavesOut(Tiled, LeavesOut):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """The same for a detector that leaves images out: an image is left out with all its tiles."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the model gets."""
        return self.tiles.size

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> Any:
        """Collect the features of all tiles of a batch, and note its images."""
        assert batch.image is not None
        super().note(batch)
        if self.by_position:
            self.collect(self.embed(batch.image))
        else:
            for part in self._as_images(batch, batch.image):
                super().training_step(part, *args, **kwargs)
        return torch.tensor(0.0, requires_grad=True, device=self.device)

    def note(self, batch: ImageBatch) -> None:
        """Note nothing of a batch of tiles: its images are noted as a whole."""

    def recall(self, features: Any, labelled: torch.Tensor) -> None:
        """Keep the features of the training images; ``labelled`` says which of them are labelled defects."""
        super().recall(features, labelled if self.by_position else labelled.repeat_interleave(len(self.tiles)))

    def _as_images(self, batch: ImageBatch, images: torch.Tensor) -> Iterator[ImageBatch]:
        """Yield the tiles of a batch as batches of images, each with its part of the mask."""
        paths = [path for path in batch.image_path or [] for _ in range(len(self.tiles))]
        masks: Iterable[torch.Tensor | None]
        masks = itertools.repeat(None) if batch.gt_mask is None else self.tiles.in_order(batch.gt_mask)
        for part, mask in zip(self.tiles.in_order(images), masks, strict=False):  # the former may have no end
            own, paths = paths[: len(part)], paths[len(part) :]
            label = None if mask is None else mask.flatten(1).any(1)
            yield ImageBatch(image=part, gt_mask=mask, gt_label=label, image_path=own or None)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images: of all tiles in their order, or by tile and position in it."""
        parts = []
        for part in self.tiles.in_order(images):
            parts.append(super().embed(part))  # type: ignore[safe-super]  # that of the detector
        features = torch.cat(parts)
        if self.by_position:  # as if the tiles of an image were one high image
            features = features.unflatten(0, (len(images), len(self.tiles))).transpose(1, 2).flatten(2, 3)
        return features

    def by_tile(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of features, of shape (images, 1, tiles * height, width), as those of single tiles."""
        return maps.unflatten(2, (len(self.tiles), -1)).flatten(0, 2)[:, None]

    def left_out(self, groups: torch.Tensor, others: Any, of_others: torch.Tensor) -> Iterator[Found]:
        """Return scores and maps of images as they would be if the group of an image had not been trained on."""
        if not self.by_position:
            groups, of_others = (each.repeat_interleave(len(self.tiles)) for each in (groups, of_others))
        found = super().left_out(groups, others, of_others)  # type: ignore[safe-super]  # that of the detector
        return self.tiles.join(found)


def tiles_for(image_size: tuple[int, int], tiling: Tiling | None) -> tuple[int, int] | Tiles:
    """Return the tiles of images, or their size where a single tile is the whole image."""
    tiles = None if tiling is None else Tiles(tiling, image_size)
    return image_size if tiles is None or len(tiles) == 1 else tiles


def tiles_of(detector: AnomalibModule) -> Tiles | None:
    """Return the tiles that a detector gets images in, None where it gets them as a whole."""
    return getattr(detector, "tiles", None)


def tiles_in(detector: AnomalibModule) -> int:
    """Return how many tiles a detector gets of an image, 1 where it gets it as a whole."""
    tiles = tiles_of(detector)
    return 1 if tiles is None else len(tiles)


def tiled(cls: type[M], tiles: Tiles) -> type[M]:
    """Return a detector's class whose model gets ``tiles``; see `Tiled`."""
    mixin = TiledLeavesOut if issubclass(cls, LeavesOut) else Tiled
    return type(cls.__name__, (mixin, cls), {"__module__": cls.__module__, "tiles": tiles})


def predict(
    model: nn.Module,
    tiles: Tiles | None,
    images: torch.Tensor,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> InferenceBatch:
    """Return what a model says of images.

    Parameters
    ----------
    model
        Of a detector. One that compares positions has a method ``at_tile``, which is told where the next tiles lie.
    tiles
        In which it gets them; None for the whole images.
    images
        Shape (batch, 3, height, width).
    transform
        What is done to images before: here to one tile after the other, since large images are not to be copied.
    """
    prepare = transform or (lambda part: part)
    if tiles is None:
        return model(prepare(images))
    at_tile = getattr(model, "at_tile", None)

    def find(part: torch.Tensor, tile: int) -> tuple[torch.Tensor, torch.Tensor]:
        if at_tile is not None:
            at_tile(tile, len(tiles))
        found = model(prepare(part))
        return found.pred_score, found.anomaly_map

    scores, maps = tiles.find(images, find, one_place=at_tile is not None)
    return InferenceBatch(pred_score=scores, anomaly_map=maps)


def _parts(pairs: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    return (pairs[begin : begin + AT_ONCE] for begin in range(0, len(pairs), AT_ONCE))


def _weights(begins: Sequence[int], tile: int, side: int) -> dict[int, torch.Tensor]:
    """Return the weights along a side of the tiles that begin at ``begins``, shape (tile,) each."""
    own = torch.arange(tile, dtype=torch.float64) + 0.5
    own = torch.minimum(own, tile - own)  # the distance to the nearer border
    total = torch.zeros(side, dtype=torch.float64)
    for begin in begins:
        total[begin : begin + tile] += own
    return {begin: (own / total[begin : begin + tile]).float() for begin in begins}

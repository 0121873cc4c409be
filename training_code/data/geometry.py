"""Where a photograph lies in what networks see, and the way back: the one place that knows both.

``resize`` brings a photograph to ``image_size``: ``"stretch"`` without keeping its proportions; ``"letterbox"`` scaled
to fit, the rest filled; ``"crop"`` scaled to cover, of which the middle is taken. Then ``center_crop`` cuts the middle
out. What lies outside of the dataset's region is filled, too, before any network sees it, so that it can change no
number. Filled are pixels with ImageNet's mean color: normalized it is 0, or nearly so, to which networks respond least;
a color of an image's own edge would carry what lies there into the filling. One color for all detectors lets them share
their decoded images.

In maps, pixels that are not looked at are `OUTSIDE`: below all that a detector gives, so that they are never the
largest value and never reach a threshold. Where pixels may be left out, by a region or by filling, the score of each
image is the highest value of its map that is left, for all detectors and all images of such a run alike.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training_code.data.region_of_interest import RegionOfInterest
from training_code.foundation.errors import InputError
from training_code.protocol import CROP, LETTERBOX, STRETCH, ExperimentProtocol

#: The value in maps of what is not looked at: the lowest number of float32.
OUTSIDE = float(np.finfo(np.float32).min)
#: The color of filled pixels, from 0 to 1: the mean of ImageNet.
FILL = (0.485, 0.456, 0.406)
Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Geometry:
    """What of photographs networks see.

    Attributes
    ----------
    image_size
        Height and width in pixels that photographs are brought to.
    resize
        How: one of `training_code.protocol.RESIZES`.
    center_crop
        Height and width of the middle that is cut out of that; None for all of it.
    region
        What of each photograph is looked at; None for all of it.
    """

    image_size: Size
    resize: str = STRETCH
    center_crop: Size | None = None
    region: RegionOfInterest | None = None

    @classmethod
    def of(cls, protocol: ExperimentProtocol, region: RegionOfInterest | None = None) -> Self:
        """Return the geometry of a protocol and of the region of a dataset."""
        return cls(protocol.image_size, protocol.resize, protocol.center_crop, region)

    @property
    def size(self) -> Size:
        """Height and width of the images that networks see, and of their maps."""
        return self.center_crop or self.image_size

    @property
    def stretches(self) -> bool:
        """Whether each photograph is seen as a whole, wherever its edges lie."""
        return self.resize == STRETCH and self.center_crop is None

    @property
    def plain(self) -> bool:
        """Whether nothing is cut away, filled or left out."""
        return self.stretches and self.region is None

    @property
    def leaves_out(self) -> bool:
        """Whether pixels that networks see may be left out; then scores are those of maps."""
        return self.region is not None or self.resize == LETTERBOX

    @property
    def cuts(self) -> bool:
        """Whether a part of a photograph may not be looked at."""
        return self.region is not None or self.resize == CROP or self.center_crop is not None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells images of one geometry from those of another, as plain data."""
        more = (self.resize, self.center_crop, self.region and self.region.sha256)
        return (self.image_size,) if self.plain else (self.image_size, *more)

    def place(self, photograph: Size) -> "Placement":
        """Return where a photograph of this height and width lies."""
        return Placement(self, photograph)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a photograph lies in what networks see.

    Attributes
    ----------
    photograph
        Its height and width.
    """

    geometry: Geometry
    photograph: Size

    @property
    def scaled(self) -> Size:
        """Height and width that the whole photograph is resized to."""
        sides = self.geometry.image_size
        if self.geometry.resize == STRETCH:
            return sides
        scales = [side / own for side, own in zip(sides, self.photograph, strict=True)]
        fits = self.geometry.resize == LETTERBOX
        scale = min(scales) if fits else max(scales)
        found = [math.floor(own * scale + 0.5) for own in self.photograph]
        height, width = (
            min(max(each, 1), side) if fits else max(each, side) for each, side in zip(found, sides, strict=True)
        )
        return height, width

    @property
    def corner(self) -> Size:
        """Row and column of the upper left corner of the resized photograph; below 0 where its edge is cut away."""
        geometry = self.geometry
        tops = [
            (side - own) // 2 if own <= side else -((own - side) // 2)
            for side, own in zip(geometry.image_size, self.scaled, strict=True)
        ]
        cut = [round((side - kept) / 2) for side, kept in zip(geometry.image_size, geometry.size, strict=True)]
        return tops[0] - cut[0], tops[1] - cut[1]  # rounded as by torchvision's CenterCrop

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns of the resized photograph that networks see."""
        first, second = (
            slice(max(0, -begin), min(own, side - begin))
            for begin, own, side in zip(self.corner, self.scaled, self.geometry.size, strict=True)
        )
        return first, second

    @property
    def frame(self) -> tuple[slice, slice]:
        """Rows and columns of what networks see in which that part lies."""
        first, second = (
            slice(begin + each.start, begin + each.stop) for begin, each in zip(self.corner, self.part, strict=True)
        )
        return first, second

    @cached_property
    def seen(self) -> NDArray[np.bool_] | None:
        """Which pixels of what networks see are looked at, of the shape `Geometry.size`; None if all of them are.

        Raises
        ------
        InputError
            If nothing of the photograph is looked at.
        """
        if not self.geometry.leaves_out:
            return None
        region = self.geometry.region
        seen = np.zeros(self.geometry.size, bool)
        seen[self.frame] = True if region is None else region.at(self.scaled)[self.part]
        if not seen.any():
            height, width = self.photograph
            raise InputError(
                f"nothing is left to look at of a photograph of {height} × {width} pixels: its region lies outside of "
                f"what resize={self.geometry.resize!r} and center_crop={self.geometry.center_crop} leave"
            )
        return None if seen.all() else seen

    def looked_at(self, size: Size | None = None) -> NDArray[np.bool_] | None:
        """Return which pixels of the photograph are looked at, at its own size or another one; None if all are."""
        size = size or self.photograph
        if not self.geometry.cuts:
            return None
        region = self.geometry.region
        found = np.ones(size, bool) if region is None else region.at(size).copy()
        for axis, (side, own, part) in enumerate(zip(size, self.scaled, self.part, strict=True)):
            places = (np.arange(side) + 0.5) * own / side
            outside = (places < part.start) | (places >= part.stop)
            found[(slice(None),) * axis + (outside,)] = False
        return None if found.all() else found

    def box(self, x: int, y: int, width: int, height: int) -> tuple[slice, slice]:
        """Return rows and columns of what networks see that a box of the photograph touches."""
        first, second = (
            slice(
                max(0, math.floor(begin * (own / side)) + corner),
                max(0, math.ceil((begin + extent) * (own / side)) + corner),
            )
            for begin, extent, own, side, corner in zip(
                (y, x), (height, width), self.scaled, self.photograph, self.corner, strict=True
            )
        )
        return first, second

    def leave_out(self, anomaly_map: NDArray[np.float32], score: float) -> tuple[NDArray[np.float32], float]:
        """Return a map in which what is not looked at is `OUTSIDE`, and the score that goes with it."""
        if not self.geometry.leaves_out:
            return anomaly_map, score
        found = anomaly_map if self.seen is None else np.where(self.seen, anomaly_map, np.float32(OUTSIDE))
        return found, float(found.max())

    def to_photograph(self, anomaly_map: NDArray[np.float32], size: Size | None = None) -> NDArray[np.float32]:
        """Return a map at the size of the photograph, or another size of the whole of it; not looked at is `OUTSIDE`.

        Parameters
        ----------
        anomaly_map
            Shape `Geometry.size`, as `leave_out` returns it.
        """
        size = size or self.photograph
        if self.geometry.plain:
            return resize_map(anomaly_map, size)
        part, (height, width) = self.part, self.scaled
        around = [(part[0].start, height - part[0].stop), (part[1].start, width - part[1].stop)]
        whole = np.pad(_filled(anomaly_map[self.frame]), around, mode="edge")
        found = resize_map(whole, size)
        looked_at = self.looked_at(size)
        return found if looked_at is None else np.where(looked_at, found, np.float32(OUTSIDE))


def as_geometry(geometry: Geometry | Size) -> Geometry:
    """Return a geometry; height and width stand for that of photographs that are stretched to them."""
    return geometry if isinstance(geometry, Geometry) else Geometry(geometry)


def inside(values: NDArray) -> NDArray:
    """Return the values of maps that are not `OUTSIDE`: the array itself where all are, otherwise of one dimension."""
    return values if not values.size or values.min() > OUTSIDE else values[values > OUTSIDE]


def resize_map(anomaly_map: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Resize a map to ``size`` (height, width), bilinear; pixels are areas, so that nothing is shifted.

    The middle of pixel ``i`` of ``n`` lies at ``(i + 0.5) / n`` before and after. Making smaller averages.
    """
    if anomaly_map.shape == size:
        return np.asarray(anomaly_map, np.float32)
    image = Image.fromarray(np.ascontiguousarray(anomaly_map, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _filled(anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map in which what is `OUTSIDE` has the value nearest to it, with which resizing may mix."""
    outside = anomaly_map <= OUTSIDE
    if not outside.any() or outside.all():
        return anomaly_map
    # Each pixel that is looked at has a number, and the others that of the nearest one.
    _, numbers = cv2.distanceTransformWithLabels(
        outside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros(numbers.max() + 1, np.float32)
    values[numbers[~outside]] = anomaly_map[~outside]
    return values[numbers]

"""The magnetic tile dataset: Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", 2018.

Published as ``MT_Free/Imgs/*.jpg`` (defect-free) and ``MT_<Defect>/Imgs/*.jpg``, each image beside a ``.png`` of the
same name: its mask, with soft edges. ``exp3_num_54291.jpg`` is the third of six exposures of a tile, in frame 54291 of
the recording; a tile was photographed up to six times, within some hundred frames.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.images import open_image
from training_code.data.layout import NORMAL
from training_code.foundation.errors import InputError

#: Defect-free images for training: this many at least, and two thirds where that is more; the others are for testing.
TRAIN = 100
#: Gray value from which on a pixel of a published mask is part of the defect.
MASK_THRESHOLD = 128
#: Frames from one exposure of a tile to the next one that is published; where they begin again with the first, to that.
FRAMES, FRAMES_AROUND = 400, 150
#: The photographs of a tile are cut to nearly the same size; tiles of other sizes lie between their frames.
SIZES = 1.25
_NAME = re.compile(r"exp(\d+)_num_(\d+)")


@dataclass(frozen=True)
class _Photograph:
    path: Path
    exposure: int
    frame: int
    size: tuple[int, int]

    def follows(self, earlier: "_Photograph") -> bool:
        """Whether it may show the same tile as the last photograph of one."""
        frames = FRAMES if self.exposure > earlier.exposure else FRAMES_AROUND
        sides = zip(self.size, earlier.size, strict=True)
        return self.frame - earlier.frame <= frames and all(max(pair) <= SIZES * min(pair) for pair in sides)


def prepare_magnetic_tile(source: Path, target: Target) -> None:
    """Bring the dataset into ``target``, with binary masks; photographs of one tile stay on one side.

    Photographs that are filed as defect-free are left out where the same tile is filed with a defect, too: they may
    show it.
    """
    free = sorted((source / "MT_Free" / "Imgs").glob("*.jpg"))
    defective = [path for path in sorted(source.glob("MT_*/Imgs/*.jpg")) if path.parents[1].name != "MT_Free"]
    # Names tell the photographs of one recording; that a tile was recorded again only its pixels tell.
    groups = part_groups(source, free + defective, tile_pairs(free + defective))
    for mask in (image.with_suffix(".png") for image in free):
        if mask.is_file():
            target.check_good(mask)
    with_defects = {groups[image] for image in defective}
    doubtful = [image for image in free if groups[image] in with_defects]
    target.leave_out(source / "MT_Free", doubtful, "their tile has a defect in another photograph")
    free = [image for image in free if groups[image] not in with_defects]
    if len(free) <= TRAIN:
        raise InputError(
            f"{source / 'MT_Free' / 'Imgs'} holds {len(free)} images of tiles without a defect; more than {TRAIN} are "
            "needed, as published"
        )
    for image, split in split_good(free, held_out(len(free)), groups):
        target.add(image, split, NORMAL, group=groups[image])
    for image in defective:
        marked = target.read_mask(image.with_suffix(".png"), MASK_THRESHOLD)
        defect_type = image.parents[1].name.removeprefix("MT_").lower()
        target.add_mask(marked, target.add(image, "test", defect_type, group=groups[image]))


def held_out(images: int) -> int:
    """Return how many of the defect-free photographs are for testing: a third, but what is left of `TRAIN` at most."""
    return min(images - TRAIN, images // 3)


def tile_pairs(images: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield pairs of photographs of one tile by the frames and exposures in their published names."""
    photographs = []
    for path in images:
        if name := _NAME.fullmatch(path.stem):
            with open_image(path) as image:
                photographs.append(_Photograph(path, int(name[1]), int(name[2]), image.size))
    tiles: list[list[_Photograph]] = []
    for photograph in sorted(photographs, key=lambda photograph: (photograph.frame, photograph.path)):
        exposed = [tile for tile in tiles[-8:] if photograph.exposure not in {other.exposure for other in tile}]
        if tile := next((tile for tile in reversed(exposed) if photograph.follows(tile[-1])), None):
            yield tile[-1].path, photograph.path
            tile.append(photograph)
        else:
            tiles.append([photograph])

"""Altered copies of training images: which there are, and how many. What alters them is in `data/augmented.py`."""

from collections.abc import Sequence

#: By name: how many copies each makes of an image. ``rotate``: by quarter turns, of an image that is no square by half
#: a turn alone. ``flip``: mirrored along either side. ``light``: darker and brighter.
AUGMENTATIONS = {"rotate": 3, "flip": 2, "light": 2}
_OF_NO_SQUARE = {"rotate": 1}


def copies(names: Sequence[str], size: tuple[int, int]) -> int:
    """Return how many copies are made of an image of ``size``, height and width in pixels.

    Examples
    --------
    >>> copies(("rotate", "flip"), (256, 256)), copies(("rotate", "flip"), (256, 128))
    (5, 3)
    """
    made = AUGMENTATIONS if size[0] == size[1] else AUGMENTATIONS | _OF_NO_SQUARE
    return sum(made[name] for name in names)

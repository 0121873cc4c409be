"""Python's search for objects that keep each other alive, made rare where very many objects are made that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 1_000_000


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Have Python search after every 1,000,000 new objects in the block, and not after 700.

    Of 100,000 files with what is known of them, a third of the time went into looking through them again and again.
    """
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)

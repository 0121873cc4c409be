"""What a service takes from its clients."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from training_code.data.images import MAX_PIXELS
from training_code.foundation.errors import InputError

#: Pixels from which on an image is large: a few of them at once would fill the memory.
LARGE = 2**22


def _limit(default: float, most: float) -> Any:
    return field(default=default, metadata={"most": most})


@dataclass(frozen=True)
class Limits:
    """What a service takes from its clients; what is more is refused before it costs anything."""

    body: int = _limit(32 * 2**20, 2**30)  # bytes of a request
    held: int = _limit(2**28, 2**40)  # bytes of all requests and answers that are on their way
    pixels: int = _limit(MAX_PIXELS, MAX_PIXELS)  # of an image, and of all overlays of an answer
    waiting: int = _limit(64, 2**16)  # images of all clients that wait or are being predicted
    seconds: float = _limit(30.0, 3600)  # for a request to arrive, for its answer, and for that to be taken
    head: float = _limit(10.0, 3600)  # seconds for the next request of a connection to begin, with all its headers
    connections: int = _limit(256, 2**14)  # at a time

    @property
    def share(self) -> int:
        """Bytes that every connection may hold, whatever the others do."""
        return self.held // self.connections

    @property
    def large_waiting(self) -> int:
        """Images of more than `LARGE` pixels among those that wait: they leave room for others, which are faster."""
        return max(1, self.waiting // 2)

    def __post_init__(self) -> None:
        """Check that there is room for something."""
        for limit in fields(self):
            value, most = getattr(self, limit.name), limit.metadata["most"]
            if not (0 < value <= most and math.isfinite(value)):
                raise InputError(f"the limit {limit.name}={value} is out of range; valid: more than 0 to {most}")

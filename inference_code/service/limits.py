"""What a service takes from its clients."""

import math
from dataclasses import dataclass, fields

from training_code.data.images import MAX_PIXELS
from training_code.foundation.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a service takes from its clients; what is more is refused before it costs anything."""

    body: int = 32 * 2**20  # bytes of a request
    held: int = 2**30  # bytes of all requests that are being taken or answered
    pixels: int = MAX_PIXELS  # of an image, and of all overlays of an answer
    waiting: int = 64  # images of all clients that wait or are being predicted
    seconds: float = 30.0  # for a request to arrive, and again for its answer
    connections: int = 256  # at a time

    def __post_init__(self) -> None:
        """Check that there is room for something."""
        for field in fields(self):
            value, most = getattr(self, field.name), MAX_PIXELS if field.name == "pixels" else math.inf
            if not (0 < value <= most and math.isfinite(value)):
                limit = f" to {most}" if math.isfinite(most) else ""
                raise InputError(f"the limit {field.name}={value} is out of range; valid: more than 0{limit}")

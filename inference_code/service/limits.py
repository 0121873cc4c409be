"""What a service takes from its clients."""

from dataclasses import dataclass

from training_code.data.images import MAX_PIXELS
from training_code.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a service takes from its clients; what is more is refused before it costs anything."""

    body: int = 32 * 2**20  # bytes of a request
    pixels: int = MAX_PIXELS  # of an image
    waiting: int = 64  # images of all clients that wait or are being predicted
    seconds: float = 30.0  # for a request to arrive, and again for its answer
    connections: int = 256  # at a time

    def __post_init__(self) -> None:
        """Check that there is room for something."""
        for name in ("body", "pixels", "waiting", "seconds", "connections"):
            if not getattr(self, name) > 0:
                raise InputError(f"the limit {name}={getattr(self, name)} is out of range; valid: more than 0")

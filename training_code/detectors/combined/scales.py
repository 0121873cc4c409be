"""The scale on which scores and maps of different detectors can be compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How numbers of a detector become comparable with those of others: times ``weight``, plus ``shift``."""

    weight: float
    shift: float = 0.0


@dataclass(frozen=True)
class Scales:
    """The scales of a detector."""

    score: Scale
    map: Scale

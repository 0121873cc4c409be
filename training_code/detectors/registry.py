"""The detectors: one entry each. They are anomalib's own classes, or subclasses that give the same numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from anomalib.models.components import AnomalibModule
from anomalib.models.image.cflow import torch_model as cflow_model
from anomalib.models.image.padim import torch_model as padim_model
from anomalib.models.image.patchcore import torch_model as patchcore_model

from training_code.detectors.cflow import Cflow
from training_code.detectors.padim import Padim
from training_code.detectors.patchcore import Patchcore
from training_code.errors import unknown

Check = tuple[Callable[[Any], bool], str]  # whether a value is valid, and what is valid in words

POSITIVE: Check = (lambda value: value > 0, "above 0")
AT_LEAST_1: Check = (lambda value: value >= 1, "at least 1")
RATIO: Check = (lambda value: 0 < value <= 1, "above 0 and at most 1")


def one_of(*values: object) -> Check:
    """Return the check that a value is one of ``values``."""
    return (lambda value: value in values, f"one of {', '.join(map(str, values))}")


@dataclass(frozen=True)
class Detector:
    """One entry of the registry."""

    cls: type[AnomalibModule]
    model_module: ModuleType  # where anomalib's class looks its feature extractor up
    checks: dict[str, Check] = field(default_factory=dict)  # valid values by argument
    max_epochs: int | None = None  # default number of epochs; None where one pass is all there is

    @property
    def name(self) -> str:
        """Name of the detector: anomalib's name of its class."""
        return self.cls.__name__


DETECTORS: dict[str, Detector] = {
    entry.name: entry
    for entry in (
        Detector(Padim, padim_model, {"n_features": AT_LEAST_1}),
        Detector(
            Patchcore,
            patchcore_model,
            {
                "coreset_sampling_ratio": RATIO,
                "num_neighbors": AT_LEAST_1,
                "precision": one_of("float32", "float16"),
            },
        ),
        Detector(
            Cflow,
            cflow_model,
            {
                "fiber_batch_size": AT_LEAST_1,
                "fiber_sampling_ratio": RATIO,
                "decoder": one_of("freia-cflow"),
                "condition_vector": (lambda value: value > 0 and value % 4 == 0, "a positive multiple of 4"),
                "coupling_blocks": AT_LEAST_1,
                "clamp_alpha": POSITIVE,
                "lr": POSITIVE,
            },
            max_epochs=30,
        ),
    )
}


def get_detector(detector: type | str) -> Detector:
    """Return the entry for a class of this package, for anomalib's of the same name, or for the name.

    Anything else is an `InputError` with the valid names.
    """
    name = detector if isinstance(detector, str) else getattr(detector, "__name__", repr(detector))
    entry = DETECTORS.get(name)
    if entry is None or (isinstance(detector, type) and not issubclass(entry.cls, detector)):
        raise unknown("detector", name, DETECTORS)
    return entry

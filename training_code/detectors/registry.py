"""The detectors: one entry each. They are anomalib's own classes, or subclasses that give the same numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from anomalib.models.components import AnomalibModule
from anomalib.models.image.cflow import torch_model as cflow_model
from anomalib.models.image.padim import torch_model as padim_model
from anomalib.models.image.patchcore import torch_model as patchcore_model

from training_code.detectors import dsr as dsr_module
from training_code.detectors.autoencoder import LOSSES, RESIDUALS, VARIANTS, Autoencoder, check_autoencoder
from training_code.detectors.cflow import Cflow
from training_code.detectors.draem import Draem, check_draem, files_of_draem
from training_code.detectors.dsr import Dsr, check_dsr, files_of_dsr
from training_code.detectors.padim import Padim
from training_code.detectors.patchcore import Patchcore
from training_code.errors import unknown

Check = tuple[Callable[[Any], bool], str]  # whether a value is valid, and what is valid in words

POSITIVE: Check = (lambda value: value > 0, "above 0")
AT_LEAST_0: Check = (lambda value: value >= 0, "at least 0")
AT_LEAST_1: Check = (lambda value: value >= 1, "at least 1")
AT_LEAST_2: Check = (lambda value: value >= 2, "at least 2")
RATIO: Check = (lambda value: 0 < value <= 1, "above 0 and at most 1")


def one_of(*values: object) -> Check:
    """Return the check that a value is one of ``values``."""
    return (lambda value: value in values, f"one of {', '.join(map(str, values))}")


def _is_blend(value: float | list[float]) -> bool:
    values = value if isinstance(value, list) else [value, value]
    return len(values) == 2 and 0 <= values[0] <= values[1] <= 1


@dataclass(frozen=True)
class Detector:
    """One entry of the registry.

    Attributes
    ----------
    cls
        The class.
    model_module
        Where it looks its feature extractor up, None where it has no backbone.
    checks
        Valid values by argument.
    max_epochs, patience, batch_size
        Defaults of training; no epochs where one pass is all there is, no batch size where the experiment's is taken.
    stops_early
        Whether there is a loss on held-out images that ``patience`` can go by.
    normalizes
        Whether images are normalised before they reach the detector.
    strides
        Strides that the layers of its backbone must have; any if empty.
    check
        Given arguments, image size and number of training images, raises an `InputError` for what does not fit.
    files
        Given arguments, returns the hashes of the files that the numbers depend on, by argument.
    """

    cls: type[AnomalibModule]
    model_module: ModuleType | None = None
    checks: dict[str, Check] = field(default_factory=dict)
    max_epochs: int | None = None
    patience: int | None = None
    batch_size: int | None = None
    stops_early: bool = True
    normalizes: bool = True
    strides: tuple[int, ...] = ()
    check: Callable[[dict[str, Any], tuple[int, int], int], None] = lambda arguments, image_size, images: None
    files: Callable[[dict[str, Any]], dict[str, str]] = lambda arguments: {}

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
        Detector(
            Dsr,
            dsr_module,
            {
                # Codes up to 0.05 of the distance order are never taken as anomalies.
                "latent_anomaly_strength": (lambda value: 0.05 < value <= 1, "above 0.05 and at most 1"),
                "upsampling_train_ratio": (lambda value: 0 < value < 1, "above 0 and below 1"),
                "embedding_dim": AT_LEAST_1,
                "num_embeddings": AT_LEAST_2,
                "codebook_epochs": AT_LEAST_1,
                "lr": POSITIVE,
                "weight_decay": AT_LEAST_0,
                "width": POSITIVE,
            },
            max_epochs=20,
            batch_size=8,
            stops_early=False,
            normalizes=False,
            strides=(4, 8),
            check=check_dsr,
            files=files_of_dsr,
        ),
        Detector(
            Draem,
            None,
            {
                "sspcab_lambda": AT_LEAST_0,
                "beta": (_is_blend, "a number from 0 to 1, or two of them, the smaller first"),
                "lr": POSITIVE,
                "width": POSITIVE,
            },
            max_epochs=700,
            batch_size=8,
            normalizes=False,
            check=check_draem,
            files=files_of_draem,
        ),
        Detector(
            Autoencoder,
            None,
            {
                "variant": one_of(*VARIANTS),
                "latent_dim": AT_LEAST_1,
                "loss": one_of(*LOSSES),
                "residual": one_of(*RESIDUALS),
                "stride": AT_LEAST_1,
                "num_crops": AT_LEAST_1,
                "square_size": AT_LEAST_1,
                "num_squares": AT_LEAST_1,
                "covered_weight": AT_LEAST_1,
                "lr": POSITIVE,
                "weight_decay": AT_LEAST_0,
                "step_size": AT_LEAST_1,
                "gamma": RATIO,
                "l1": AT_LEAST_0,
                "kl": AT_LEAST_0,
                "contractive": AT_LEAST_0,
                "width": POSITIVE,
            },
            max_epochs=200,
            patience=20,
            batch_size=128,
            normalizes=False,
            check=check_autoencoder,
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

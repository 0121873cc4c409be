"""The identity of a run: everything that decides about its numbers, and its name."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from training_code.detectors.registry import DETECTORS
from training_code.foundation.files import digest
from training_code.protocol import ExperimentProtocol

#: Raised when the form of records changes; `training_code.records.older` reads the former ones.
SCHEMA_VERSION = 6


@dataclass(frozen=True)
class Identity:
    """Everything that decides about a run's numbers, and nothing else; equal names are the same run.

    What of the protocol can be changed afterwards is kept here, too, and is no part of the name.

    Attributes
    ----------
    detector
        Name of the detector.
    arguments
        All arguments that it runs with.
    seed
        Of everything that is drawn at random.
    protocol
        Under which conditions its numbers can be compared.
    compute
        How it is computed, as far as that decides about this detector's numbers; see
        `training_code.protocol.ComputeOptions.deciding_about`.
    mean, std
        Mean and standard deviation of the normalization, for each channel; None without a backbone.
    dataset_fingerprint
        Hash of all images and masks.
    weights_sha256
        Of the backbone's weight file; None for random weights, and without a backbone.
    files_sha256
        Of files that arguments name, by argument, of the images that the protocol takes as ``labelled`` ones, and of
        the checkpoints of runs that are combined, by run.
    """

    detector: str
    arguments: dict[str, Any]
    seed: int
    protocol: ExperimentProtocol
    compute: dict[str, Any]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    dataset_fingerprint: str
    weights_sha256: str | None
    files_sha256: dict[str, str]

    def __post_init__(self) -> None:
        """Fill in the arguments that came after the run."""
        later = _later_arguments(self.detector)
        object.__setattr__(self, "arguments", {**self.arguments, **later, **self.arguments})

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and deviation together, as a detector takes them."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)

    @property
    def run_id(self) -> str:
        """Readable and stable name of the run: ``<detector>-<backbone>-<hash>``.

        A detector without a backbone has its variant there, or nothing.
        """
        later = _later_arguments(self.detector)
        middle = str(self.arguments.get("backbone") or self.arguments.get("variant", "")).lower()
        arguments = {name: value for name, value in self.arguments.items() if (name, value) not in later.items()}
        content = dataclasses.asdict(self) | {"arguments": arguments, "protocol": self.protocol.identifying}
        content |= {"schema_version": SCHEMA_VERSION}
        return "-".join(filter(None, [self.detector.lower(), middle, digest(content)[:10]]))


def _later_arguments(detector: str) -> dict[str, Any]:
    """Return what `DetectorSpec.later` is of a detector, nothing of one that this version does not know."""
    return DETECTORS[detector].later if detector in DETECTORS else {}

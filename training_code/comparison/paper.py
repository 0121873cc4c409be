"""The settings of the papers, below which a run is a reduced one."""

from collections.abc import Mapping

from training_code.comparison.values import is_number
from training_code.detectors.registry import DETECTORS
from training_code.records.record import Record


def reduced_settings(record: Record) -> str:
    """Return the arguments that are below the paper's, with both values; nothing for a run in its full setting."""
    return ", ".join(
        f"{name} {record.arguments[name]:g} of {full:g}"
        for name, full in _paper(record.detector).items()
        if is_number(record.arguments.get(name)) and record.arguments[name] < full
    )


def _paper(detector: str) -> Mapping[str, float]:
    spec = DETECTORS.get(detector)  # a record may be of a detector that is no longer there
    return spec.paper if spec else {}

"""The settings of the papers, below which a run is a reduced one."""

from collections.abc import Mapping

from training_code.comparison.values import is_number
from training_code.detectors.registry import DETECTORS
from training_code.records.record import Record


def reduced_settings(record: Record) -> str:
    """Return the arguments that are below the paper's, with both values; nothing for a run in its full setting.

    Those of the members of a combination count, too.
    """
    return ", ".join(
        f"{name} {each.arguments[name]:g} of {full:g}"
        for each in (record, *record.members)
        for name, full in _paper(each.detector).items()
        if is_number(each.arguments.get(name)) and each.arguments[name] < full
    )


def _paper(detector: str) -> Mapping[str, float]:
    spec = DETECTORS.get(detector)  # a record may be of a detector that is no longer there
    return spec.paper if spec else {}

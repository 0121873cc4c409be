"""Which configurations of a notebook an entry of a sweep file selects, and which it leaves out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training_code.foundation.errors import InputError, choices, suggestion, unknown
from training_code.sweep.notebook import ConfigurationCell, TrainingNotebook
from training_code.sweep.parameters import kept

#: By which detectors are selected and excluded, beside their arguments.
DETECTOR = "detector"


def select_cells(notebook: TrainingNotebook, select: Mapping[str, Any], path: Path) -> list[ConfigurationCell]:
    """Return the configuration cells whose detector and arguments have one of the selected values."""
    values = {
        cell.index: {DETECTOR: cell.detector, **notebook.evaluate(cell.arguments, notebook.parameters)}
        for cell in notebook.cells
    }
    chosen = list(notebook.cells)
    for name, wanted in select.items():
        present = [values[cell.index][name] for cell in notebook.cells if name in values[cell.index]]
        if not present:
            known = sorted({known for of_cell in values.values() for known in of_cell})
            raise unknown(f"argument to select in {notebook.path.name}", name, known)
        wanted = wanted if isinstance(wanted, list) and wanted not in present else [wanted]
        valid = sorted({str(value) for value in present})
        lacking = [value for value in wanted if value not in present and value is not None]
        chosen = [cell for cell in chosen if values[cell.index].get(name) in wanted]
        if lacking or not chosen:
            raise InputError(
                f"{path}: select {name}: {lacking or wanted} matches no cell of {notebook.path.name}"
                f"{suggestion(lacking[0], valid) if lacking else ''}; valid: {choices(valid)}"
            )
    return chosen


def is_excluded(present: Mapping[str, Any], exclude: Mapping[str, Any], notebook: TrainingNotebook) -> bool:
    """Return whether each of the named arguments, parameters and fields has one of the values to leave out."""
    known = {DETECTOR} | {name for cell in notebook.cells for name in cell.arguments} | set(present)
    for name, values in exclude.items():
        if name not in known:
            raise unknown(f"name to exclude in {notebook.path.name}", name, known)
        unwanted = [values, *values] if isinstance(values, list) else [values]
        if kept(name, present.get(name)) not in [kept(name, value) for value in unwanted]:
            return False
    return True

"""Values of a sweep file as they are meant: ``007`` is text where a name is expected, and a number everywhere else."""

import ast
import typing
from collections.abc import Mapping
from typing import Any

from training_code.detectors.registry import DETECTORS
from training_code.foundation.yaml_files import as_plain, as_text
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.sweep.notebook import TrainingNotebook

_NUMBERS = frozenset({"int", "float"})


def as_meant(notebook: TrainingNotebook | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values of parameters, fields of protocol and compute, and arguments of the detectors of a notebook.

    What is a name there is text as the file has it, alone, in a list or in a dict of fields. Without a notebook numbers
    stay numbers.
    """
    return {name: _meant(notebook, name, value) for name, value in values.items()}


def _meant(notebook: TrainingNotebook | None, name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return as_meant(notebook, value)
    if isinstance(value, list):
        return [_meant(notebook, name, member) for member in value]
    expected = frozenset() if notebook is None else _expected(notebook, name)
    return as_plain(as_text(value) if "str" in expected and not expected & _NUMBERS else value)


def _expected(notebook: TrainingNotebook, name: str) -> frozenset[str]:
    """Return the names of the plain types that a value may have, nothing if they are not known."""
    if name in notebook.annotations:
        annotation = ast.parse(notebook.annotations[name])
        return frozenset(node.id for node in ast.walk(annotation) if isinstance(node, ast.Name))
    for options in (ExperimentProtocol, ComputeOptions):
        if name in options.names():
            return _plain_types(typing.get_type_hints(options)[name])
    detectors = [DETECTORS[cell.detector] for cell in notebook.cells if cell.detector in DETECTORS]
    arguments = [detector.all_arguments.get(name) for detector in detectors]
    return frozenset().union(*(_plain_types(argument.type) for argument in arguments if argument))


def _plain_types(hint: Any) -> frozenset[str]:
    """Return the names of the types that a type hint is made of."""
    parts = typing.get_args(hint)
    return frozenset().union(*map(_plain_types, parts)) if parts else frozenset({getattr(hint, "__name__", "")})

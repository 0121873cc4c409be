"""Reading the configurations of a training notebook.

A configuration cell is one that calls ``experiment.run(...)``. Its arguments are literals or names of the notebook's
parameters, so that a sweep knows what it would run without running it. One that combines runs may name those of other
cells: ``combine=[first, second]`` after ``first = experiment.run(...)``.
"""

import ast
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, suggestion
from training_code.sweep.cell import parse_cell

if TYPE_CHECKING:
    from nbformat import NotebookNode

PARAMETERS_TAG = "parameters"
#: Arguments of ``experiment.run`` that say how, and are none of a configuration.
OF_EXPERIMENT = ("rerun", "varied_anomalies")
# By annotation of a parameter, or the type of its default: the types that a value must have.
_EXPECTED: dict[str, tuple[type, ...]] = {"str": (str,), "str | None": (str, type(None)), "bool": (bool,)}


@dataclass(frozen=True)
class ConfigurationCell:
    """One call of ``experiment.run`` in a notebook."""

    index: int  # of the cell in the notebook
    detector: str
    arguments: dict[str, ast.expr]
    assigned: str | None = None  # the name that the run gets in the notebook


@dataclass(frozen=True)
class TrainingNotebook:
    """A notebook with a parameters cell, an ``Experiment(...)`` and configuration cells."""

    path: Path
    text: str  # of the file when it was read
    parameters: dict[str, Any]  # defaults
    experiment: dict[str, ast.expr]  # arguments of Experiment(...)
    cells: tuple[ConfigurationCell, ...]
    annotations: Mapping[str, str]  # of the parameters; the type of the default where there is none

    @property
    def name(self) -> str:
        """File name without its suffix."""
        return self.path.stem

    @cached_property
    def content(self) -> "NotebookNode":
        """The notebook as jobs are cut out of it."""
        import nbformat  # here, since it takes 1 s, most of what a plan takes, which needs the configurations alone

        return nbformat.reads(json.dumps(_complete(json.loads(self.text))), as_version=4)

    def expected(self, parameter: str) -> tuple[type, ...]:
        """Return the types that a value of a parameter for text or a flag must have; nothing for any other one."""
        return _EXPECTED.get(self.annotations.get(parameter, ""), ())

    @property
    def assigned(self) -> dict[str, ConfigurationCell]:
        """The configurations whose runs have a name in the notebook, by that name."""
        return {cell.assigned: cell for cell in self.cells if cell.assigned is not None}

    def evaluate(self, expressions: Mapping[str, ast.expr], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of arguments: literals, parameters by their names, and the names of runs of other cells.

        Raises
        ------
        InputError
            If an argument is anything else.
        """
        return {name: self._value(name, expression, parameters) for name, expression in expressions.items()}

    def _value(self, name: str, expression: ast.expr, parameters: Mapping[str, Any]) -> Any:
        if isinstance(expression, ast.Name) and expression.id in parameters:
            return parameters[expression.id]
        if isinstance(expression, ast.List):
            named = [each.id for each in expression.elts if isinstance(each, ast.Name) and each.id in self.assigned]
            if named and len(named) == len(expression.elts):
                return named
        try:
            return ast.literal_eval(expression)
        except (ValueError, TypeError):  # the latter for a list as a key
            raise InputError(
                f"{self.path.name}: the argument {name}={ast.unparse(expression)} is neither a literal nor one of the "
                f"notebook's parameters ({choices(self.parameters)})"
            ) from None


def read_notebook(path: Path) -> TrainingNotebook:
    """Read a training notebook.

    Raises
    ------
    InputError
        If it cannot be read, lacks the cell tagged ``parameters``, the ``Experiment`` or any configuration, or if
        one of them is not plain enough to be known without running it.
    """
    if not os.path.isfile(path):  # unlike that of a Path it takes names of any length
        known = sorted(file.stem for file in path.parent.glob("*.ipynb")) if os.path.isdir(path.parent) else []
        raise InputError(f"there is no notebook {path}{suggestion(path.stem, known)}; valid: {choices(known)}")
    text, found = _read_cells(path)
    parameters: dict[str, Any] | None = None
    annotations: dict[str, str] = {}
    experiment: dict[str, ast.expr] | None = None
    cells = []
    for index, cell in enumerate(found):
        if cell.cell_type != "code":
            continue
        tree = parse_cell(cell.source, path, index)
        if PARAMETERS_TAG in (cell.metadata.get("tags") or []):
            parameters, annotations = _read_parameters(tree, path)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) == "Experiment":
                experiment = _keywords(node, path, first="dataset")
            elif ast.unparse(node.func) == "experiment.run":
                cells.append(_read_configuration(node, path, index, _assigned(tree, node)))
    if parameters is None:
        raise InputError(f"{path.name} has no cell tagged {PARAMETERS_TAG!r}")
    if experiment is None or not cells:
        raise InputError(f"{path.name} is no training notebook: it needs Experiment(...) and experiment.run(...)")
    if duplicates := {cell.index for cell in cells if sum(other.index == cell.index for other in cells) > 1}:
        raise InputError(f"{path.name}: cell {min(duplicates) + 1} calls experiment.run more than once; one a cell")
    return TrainingNotebook(path, text, parameters, experiment, tuple(cells), annotations)


@dataclass(frozen=True)
class _Cell:
    """A cell as the file has it."""

    cell_type: str
    source: str
    metadata: dict[str, Any]


def _read_cells(path: Path) -> tuple[str, list[_Cell]]:
    """Return the text of a notebook, and its cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text)
        version = content["nbformat"]
        # A source is one text or a list of its lines.
        cells = [_Cell(cell["cell_type"], "".join(cell["source"]), {**cell["metadata"]}) for cell in content["cells"]]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a notebook: {error}") from error
    if version != 4:
        raise InputError(f"{path} has version {version} of the format of notebooks; valid: 4")
    return text, cells


def _complete(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a notebook holds with what some editors leave out, and without outputs, which a job makes anew."""
    content = {"nbformat_minor": 4, **content, "metadata": {**(content.get("metadata") or {})}}
    if content["metadata"].get("kernelspec", ...) is None:
        del content["metadata"]["kernelspec"]
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return content


def _read_parameters(tree: ast.Module, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the defaults of the parameters, and their annotations."""
    parameters, annotations = {}, {}
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("get_ipython()."):
            continue  # a magic sets nothing
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        target = targets[0] if len(targets) == 1 else None
        try:
            value = ast.literal_eval(getattr(statement, "value", statement))
        except (ValueError, TypeError):
            value = target = None
        if not isinstance(target, ast.Name):
            raise InputError(
                f"{path.name}: the parameters cell holds {ast.unparse(statement)!r}; only names set to literals belong "
                "there, since papermill sets its values behind it"
            )
        parameters[target.id] = value
        if isinstance(statement, ast.AnnAssign):
            annotations[target.id] = ast.unparse(statement.annotation)
        else:
            annotations[target.id] = type(value).__name__
    return parameters, annotations


def _assigned(tree: ast.Module, call: ast.Call) -> str | None:
    """Return the name that a cell gives to the value of a call; None where it gives none."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and statement.value is call:
            (target, *others) = statement.targets
            return target.id if isinstance(target, ast.Name) and not others else None
    return None


def _read_configuration(node: ast.Call, path: Path, index: int, assigned: str | None) -> ConfigurationCell:
    if len(node.args) != 1 or not isinstance(node.args[0], ast.Name):
        raise InputError(
            f"{path.name}: cell {index + 1} must name its detector first and every argument, as in "
            "experiment.run(Padim, backbone='resnet18')"
        )
    arguments = {name: value for name, value in _keywords(node, path).items() if name not in OF_EXPERIMENT}
    return ConfigurationCell(index, node.args[0].id, arguments, assigned)


def _keywords(node: ast.Call, path: Path, first: str | None = None) -> dict[str, ast.expr]:
    keywords = {first: node.args[0]} if first and node.args else {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise InputError(f"{path.name}: {ast.unparse(node.func)} is called with **: write the arguments out")
        keywords[keyword.arg] = keyword.value
    return keywords


def notebook_path(name: str) -> Path:
    """Return the path of a notebook given by its name in ``notebooks/`` or by its path, relative to the repository.

    The suffix may be left out.
    """
    file = os.path.expanduser(name if name.endswith(".ipynb") else f"{name}.ipynb")
    return (paths.ROOT if os.path.dirname(file) else paths.NOTEBOOKS) / file

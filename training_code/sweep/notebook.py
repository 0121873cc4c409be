"""Reading the configurations of a training notebook, and cutting out the part that runs one of them.

A configuration cell is one that calls ``experiment.run(...)``. Its arguments are literals or names of the notebook's
parameters, so that a sweep knows what it would run without running it.
"""

import ast
import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices
from training_code.sweep.cell import parse_cell

if TYPE_CHECKING:
    from nbformat import NotebookNode

PARAMETERS_TAG = "parameters"
#: In the metadata of a cell: the run that it makes.
RUN_KEY = "run_id"
# By annotation of a parameter, or the type of its default: the types that a value must have.
_EXPECTED: dict[str, tuple[type, ...]] = {"str": (str,), "str | None": (str, type(None)), "bool": (bool,)}


@dataclass(frozen=True)
class ConfigurationCell:
    """One call of ``experiment.run`` in a notebook."""

    index: int  # of the cell in the notebook
    detector: str
    arguments: dict[str, ast.expr]


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

    def evaluate(self, expressions: Mapping[str, ast.expr], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of arguments, which are literals or names of parameters.

        Raises
        ------
        InputError
            If an argument is anything else.
        """
        return {name: self._value(name, expression, parameters) for name, expression in expressions.items()}

    def _value(self, name: str, expression: ast.expr, parameters: Mapping[str, Any]) -> Any:
        if isinstance(expression, ast.Name) and expression.id in parameters:
            return parameters[expression.id]
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
        raise InputError(f"there is no notebook {path}; valid: {choices(known)}")
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
                cells.append(_read_configuration(node, path, index))
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


@dataclass(frozen=True)
class Part:
    """A configuration cell as a job runs it.

    Attributes
    ----------
    arguments
        Arguments to write into the cell in place of its own, so that the executed notebook shows the values it ran
        with; None leaves the cell as it is.
    rerun
        Whether a stored result is replaced.
    """

    run_id: str
    cell: ConfigurationCell
    arguments: Mapping[str, Any] | None = None
    rerun: bool = False


def cut_out(notebook: TrainingNotebook, parts: Sequence[Part]) -> "NotebookNode":
    """Return a notebook that runs some configurations: all before the first one, and their cells with their headings.

    A heading may stand above several configurations. Each of these cells is marked with the run that it makes, for
    `part_of`.
    """
    from nbformat.corpus.words import generate_corpus_id  # here, as in `TrainingNotebook.content`

    headings = _headings(notebook)
    dropped = {*headings, *headings.values()}
    first = min(part.cell.index for part in parts)
    result = copy.deepcopy(notebook.content)
    result.cells = [cell for index, cell in enumerate(result.cells) if index < first and index not in dropped]
    for part in parts:
        index = part.cell.index
        cells = [copy.deepcopy(notebook.content.cells[index])]
        if (heading := headings[index]) is not None:
            cells.insert(0, copy.deepcopy(notebook.content.cells[heading]))
        arguments = part.arguments
        if arguments is None and part.rerun:
            cells[-1].source = _with_rerun(parse_cell(cells[-1].source, notebook.path, index))
        elif arguments is not None:
            lines = [f"    {name}={value!r}," for name, value in arguments.items()]
            lines += ["    rerun=True,"] if part.rerun else []
            cells[-1].source = "\n".join(["experiment.run(", f"    {part.cell.detector},", *lines, ")"])
            if len(cells) > 1:  # it speaks of the values that the cell had
                cells[0].source = f"### {part.cell.detector} as varied by the sweep"
        for cell in cells:
            cell.metadata[RUN_KEY] = part.run_id
            cell.id = generate_corpus_id()  # a cell may come more than once
        result.cells += cells
    return result


def part_of(executed: "NotebookNode", run_id: str) -> "NotebookNode":
    """Return the part of an executed notebook that made one run."""
    result = copy.deepcopy(executed)
    result.cells = [cell for cell in result.cells if cell.metadata.get(RUN_KEY, run_id) == run_id]
    return result


def _with_rerun(tree: ast.Module) -> str:
    """Return the source of a configuration cell with ``rerun=True``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "experiment.run":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "rerun"]
            node.keywords.append(ast.keyword("rerun", ast.Constant(True)))
    return ast.unparse(tree)


def _headings(notebook: TrainingNotebook) -> dict[int, int | None]:
    """Return for each configuration cell the index of its heading, None where it has none.

    That is the text right above it, or above the configurations right before it.
    """
    headings: dict[int, int | None] = {}
    for cell in notebook.cells:
        above = cell.index - 1
        is_text = above >= 0 and notebook.content.cells[above].cell_type == "markdown"
        headings[cell.index] = above if is_text else headings.get(above)
    return headings


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


def _read_configuration(node: ast.Call, path: Path, index: int) -> ConfigurationCell:
    if len(node.args) != 1 or not isinstance(node.args[0], ast.Name):
        raise InputError(
            f"{path.name}: cell {index + 1} must name its detector first and every argument, as in "
            "experiment.run(Padim, backbone='resnet18')"
        )
    arguments = {name: value for name, value in _keywords(node, path).items() if name != "rerun"}
    return ConfigurationCell(index, node.args[0].id, arguments)


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

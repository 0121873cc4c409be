"""Cutting out of a training notebook what runs some of its configurations."""

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training_code.sweep.cell import parse_cell
from training_code.sweep.notebook import OF_EXPERIMENT, ConfigurationCell, TrainingNotebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: In the metadata of a cell: the run that it makes.
RUN_KEY = "run_id"


@dataclass(frozen=True)
class Part:
    """A configuration cell as a job runs it.

    Attributes
    ----------
    arguments
        Arguments to write into the cell in place of its own, so that the executed notebook shows the values it ran
        with; None leaves the cell as it is.
    rerun, varied_anomalies
        Whether a stored result is replaced, and whether varied anomalies are judged, see
        `training_code.experiment.Experiment.run`.
    """

    run_id: str
    cell: ConfigurationCell
    arguments: Mapping[str, Any] | None = None
    rerun: bool = False
    varied_anomalies: bool = False

    @property
    def options(self) -> list[str]:
        """The arguments of ``experiment.run`` that are set to True."""
        return [name for name in OF_EXPERIMENT if getattr(self, name)]


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
        if arguments is None and part.options:
            cells[-1].source = _with_options(parse_cell(cells[-1].source, notebook.path, index), part.options)
        elif arguments is not None:
            lines = [f"    {name}={value!r}," for name, value in arguments.items()]
            lines += [f"    {name}=True," for name in part.options]
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


def _with_options(tree: ast.Module, options: Sequence[str]) -> str:
    """Return the source of a configuration cell with some arguments of ``experiment.run`` set to True."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "experiment.run":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in options]
            node.keywords += [ast.keyword(name, ast.Constant(True)) for name in options]
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

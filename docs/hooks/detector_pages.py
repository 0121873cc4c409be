"""A page for each detector, made of its specification, its docstring, its row on docs/detectors.md and its notebook."""

import ast
import inspect
import json
import re
from pathlib import Path

from training_code.detectors.registry import DETECTORS
from training_code.detectors.spec import DetectorSpec
from training_code.foundation import paths
from training_code.sweep.notebook import read_notebook

# numpydoc's headings, of which a docstring of a detector has the first three.
_SECTION = re.compile(r"^ *(Parameters|Attributes|Examples|Raises|Notes)$", re.M)


def detector_pages(root: Path) -> dict[str, str]:
    """Return the text of each page by its path from the repository."""
    rows = _rows((root / "docs" / "detectors.md").read_text(encoding="utf-8"))
    return {f"docs/detectors/{page_name(spec)}.md": _page(spec, rows[name]) for name, spec in DETECTORS.items()}


def page_name(spec: DetectorSpec) -> str:
    """Return the name of a detector's page: that of its folder."""
    return spec.path.split(".")[2]


def link_detectors(text: str) -> str:
    """Return docs/detectors.md with a link to the page of each detector in the first column."""

    def linked(row: re.Match) -> str:
        return re.sub(r"`(\w+)`", lambda name: _link(name[1]), row[0])

    return re.sub(r"^\| `[^|]*\|", linked, text, flags=re.M)


def _link(name: str) -> str:
    return f"[`{name}`](detectors/{page_name(DETECTORS[name])}.md)" if name in DETECTORS else f"`{name}`"


def _rows(text: str) -> dict[str, dict[str, str]]:
    """Return what the tables say of each detector, by the heading of the column."""
    found: dict[str, dict[str, str]] = {}
    headings: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            headings = []
        elif not headings:
            headings = cells
        else:
            found[cells[0].strip("`")] = dict(zip(headings[1:], cells[1:], strict=True))
    return found


def _page(spec: DetectorSpec, row: dict[str, str]) -> str:
    parts = [f"# {spec.name}", _docstring(spec)]
    anomalibs = "anomalib has this detector, too" if spec.plain is not None else "anomalib has no such detector"
    facts = [f"{anomalibs}.", *_facts(spec)]
    *said, (differs, why) = row.items()
    facts += [f"**{heading}**: {_moved(cell)}" for heading, cell in said if cell]
    parts += ["\n".join(f"- {fact}" for fact in facts), f"## {differs}", _moved(why)]
    parts += ["## Arguments", _arguments(spec), "## Configurations", *_cells(spec)]
    notebook = f"[{spec.notebook}](../../notebooks/{spec.notebook}.ipynb)"
    parts += [f"From the notebook {notebook}. Names without a value there are parameters of the notebook."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(spec: DetectorSpec) -> list[str]:
    said = []
    if spec.combines:
        said.append("It is made of finished runs.")
    elif spec.epochs is None:
        said.append("It learns in one pass over the images.")
    else:
        said.append(f"It trains in epochs: {spec.epochs.max_epochs} at most.")
    if spec.learns_from_labels({**spec.defaults, "supervised": True}):
        said.append("It can be trained on labelled defects.")
    if spec.leaves_out(spec.defaults):
        said.append("Its thresholds rest on all good images, each of which it leaves out afterwards.")
    if spec.trains_backbone:
        said.append("Its backbone is trained with it.")
    if spec.not_exported:
        said.append(f"It cannot be exported: {spec.not_exported}.")
    for file in spec.published:
        source = f"<{file.source}>" if file.source.startswith("https:") else file.source
        said.append(f"File `weights/{file.name}`: {file.license}, {source}.")
    if spec.paper:
        values = ", ".join(f"`{name}` {value:g}" for name, value in spec.paper.items())
        said.append(f"In the paper: {values}. A run below one of these counts as reduced.")
    return said


def _arguments(spec: DetectorSpec) -> str:
    lines = ["| argument | type | default | valid |", "| --- | --- | --- | --- |"]
    for name, argument in spec.all_arguments.items():
        kind = argument.type.__name__ if isinstance(argument.type, type) else str(argument.type).replace("typing.", "")
        valid = argument.check[1] if argument.check else ""
        cells = [f"`{name}`", f"`{kind}`", f"`{argument.default!r}`", valid]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def _cells(spec: DetectorSpec) -> list[str]:
    """Return the configurations of its notebook as blocks of code."""
    path = paths.NOTEBOOKS / f"{spec.notebook}.ipynb"
    sources = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    indices = dict.fromkeys(cell.index for cell in read_notebook(path).cells if cell.detector == spec.name)
    return [f"```python\n{sources[index]}\n```" for index in indices]


def _docstring(spec: DetectorSpec) -> str:
    """Return what the class says of itself before its sections."""
    module, _, name = spec.path.partition(":")
    text = _class_docstring(module, name)
    text = inspect.cleandoc(_SECTION.split(text, maxsplit=1)[0])
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _class_docstring(module: str, name: str) -> str:
    """Return the docstring of a class from its file, since importing anomalib takes 15 s."""
    tree = ast.parse(_source(module))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) or ""
    raise SystemExit(f"error: {module} has no class {name}")


def _source(module: str) -> str:
    return (paths.ROOT / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")


def _moved(cell: str) -> str:
    """Return a cell of docs/detectors.md for a page one folder deeper."""
    return re.sub(r"\]\((?!\w+://|#)", "](../", cell)

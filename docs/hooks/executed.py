"""Notebooks as pages: those of the repository as they stand, and those that sweeps have executed, with outputs."""

import re
from urllib.parse import quote

from training_code.comparison.not_run import few
from training_code.foundation import paths
from training_code.records.reading import read_records
from training_code.records.record import NOTEBOOK, Record
from training_code.reporting.html import to_html

_PAGE = "docs/executed.md"
_HEAD = """# Executed notebooks

Each run of a sweep keeps the notebook that made it, with its outputs: tables, curves and pictures of its predictions.
`make docs` takes those in `results/` (of another folder: `make docs ANOMALY_HOME=FOLDER`) and makes pages of them.
"""
_NONE = """There were no runs when this site was built. `make demo` makes some in a few minutes, and `make docs` then
shows them here.
"""


def executed_pages() -> dict[str, str]:
    """Return the pages by their paths from the repository."""
    plain = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
    pages = {f"notebooks/{path.stem}.html": to_html(path, path.stem) for path in plain}
    records, problems = read_records(paths.RESULTS)
    lines = []
    for folder, record in sorted(records, key=lambda found: found[0].name):
        if (folder / NOTEBOOK).is_file():
            pages[f"notebooks/runs/{folder.name}.html"] = to_html(folder / NOTEBOOK, folder.name, trusted=False)
            lines.append(_line(folder.name, record))
    head = "| notebook | dataset | image size | seed | image AUROC |\n| --- | --- | --- | --- | --- |\n"
    unread = "".join(f"\nNot read: {_as_text(problem)}\n" for problem in few(problems))
    pages[_PAGE] = _HEAD + "\n" + (head + "\n".join(lines) + "\n" if lines else _NONE) + unread
    return pages


def _line(run: str, record: Record) -> str:
    identity = record.identity
    auroc = record.metrics.get("image_AUROC")
    size = " × ".join(map(str, identity.protocol.image_size))
    link = f"[{_as_text(run)}](../notebooks/runs/{quote(run)}.html)"
    cells = [link, _as_text(record.dataset.name), size, str(identity.seed)]
    return "| " + " | ".join([*cells, "" if auroc is None else f"{auroc:.3f}"]) + " |"


def _as_text(name: str) -> str:
    """Return a name that Markdown and HTML show as it is: a run may come from strangers."""
    return re.sub(r"[^A-Za-z0-9 .-]", lambda found: f"&#{ord(found[0])};", name)

"""The part of the code that decides about a run's numbers, as a hash."""

import ast
from functools import cache

from training_code import paths
from training_code.files import digest

#: Packages and modules that numbers depend on.
DECIDING = (
    "data",
    "backbones",
    "features",
    "detectors",
    "evaluation",
    "epochs",
    "training",
    "codebooks",
    "pipeline",
    "preparation",
    "protocol",
)


@cache
def code_hash() -> str:
    """Return the SHA-256 of what the deciding modules do: comments, docstrings and layout do not count."""
    files = sorted(
        file
        for name in DECIDING
        for file in [paths.ROOT / "training_code" / f"{name}.py", *(paths.ROOT / "training_code" / name).rglob("*.py")]
        if file.is_file()
    )
    sources = {file.relative_to(paths.ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return digest({name: _meaning(source) for name, source in sources.items()})


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    return ast.dump(tree)

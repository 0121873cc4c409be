"""Whoever reads a module of inference needs to know only those before it, and its imports at its top."""

import ast

import pytest

from training_code.foundation import paths

FOLDER = paths.ROOT / "inference_code"
ORDER = (
    ("ranges", "runtimes", "images", "postprocessing", "batches", "sources"),
    ("graph_files", "visualization", "predictor", "promises", "runs", "graphs", "verdicts"),
    ("torch_predictor", "graph_predictor"),
    ("loading",),
    ("thresholds", "output", "display", "references"),
    ("following", "written"),
    ("annotations", "most_useful"),
    ("arguments",),
    ("export", "service"),
    ("labeling", "station"),
    ("predict", "serve", "review", "teach"),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
#: Answer what needs no library before they import it.
COMMANDS = {"cli.py", "predict.py", "teach.py", "serve.py", "export/__main__.py", "station/__main__.py"}
#: Comes with an extra that not everybody has who imports the module.
OPTIONAL = {("graph_predictor.py", "onnxruntime"), ("station/sinks.py", "inference_code.station.mqtt")}
FILES = sorted(path for path in FOLDER.rglob("*.py") if path != FOLDER / "__init__.py")


def _imports(nodes):
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_imports_only_what_stands_before_it_and_at_its_top(path):
    tree, name = ast.parse(path.read_text()), str(path.relative_to(FOLDER))
    place = path.relative_to(FOLDER).with_suffix("").parts[0]
    everywhere = list(_imports(ast.walk(tree)))
    for module in everywhere:
        if module.startswith("inference_code."):
            other = module.split(".")[1]
            assert other == place or RANK[other] < RANK[place], f"{module} stands behind {place}"
    if name not in COMMANDS:
        at_the_top = list(_imports(tree.body))
        assert {(name, module) for module in everywhere if module not in at_the_top} <= OPTIONAL


def test_every_module_has_its_place():
    assert {path.relative_to(FOLDER).with_suffix("").parts[0] for path in FILES} == set(RANK)

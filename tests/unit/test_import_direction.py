"""Data flows one way: a module imports only what stands before it in this list."""

import ast

import pytest

from training_code.foundation import paths

ORDER = (
    ("foundation",),
    ("options",),
    ("tiling",),
    ("augmentation",),
    ("protocol",),
    ("data",),
    ("backbones",),
    ("features",),
    ("detectors",),
    ("evaluation",),
    ("training",),
    ("records",),
    ("display",),
    ("members",),
    ("suitability",),
    ("preparation",),
    ("recording",),
    ("codebooks",),
    ("restoring",),
    ("findings",),
    ("pipeline",),
    ("suspicious",),
    ("combining",),
    ("lessons",),
    ("teaching",),
    ("experiment",),
    ("benchmark",),
    ("notebooks",),
    ("sweep", "comparison"),
    ("reporting",),
    ("compare", "prepare_data", "check_data", "rethreshold", "search", "start", "weights"),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
MODULES = sorted((paths.ROOT / "training_code").rglob("*.py")) + sorted((paths.ROOT / "inference_code").rglob("*.py"))


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [node.module] if node.module != "training_code" else names
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(paths.ROOT)))
def test_a_module_imports_only_what_stands_before_it(path):
    package, place = path.relative_to(paths.ROOT).with_suffix("").parts[:2]
    for name in _imported(path):
        root, *rest = name.split(".")
        assert root not in ("notebooks", "tests")
        if package == "training_code":
            assert root != "inference_code"
            if root == "training_code" and rest and place != "__init__":
                assert RANK[rest[0]] < RANK[place] or rest[0] == place, f"{name} stands behind {place}"


def test_every_module_has_its_place():
    places = {
        path.relative_to(paths.ROOT / "training_code").with_suffix("").parts[0]
        for path in MODULES
        if path.is_relative_to(paths.ROOT / "training_code")
    }
    assert places - {"__init__"} == set(RANK)

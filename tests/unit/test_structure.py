"""The house: no circles, imports where they can be seen, modules and signatures that a person can take in."""

import ast
from pathlib import Path

import pytest

from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths

PACKAGES = ("training_code", "inference_code")
FILES = {
    ".".join(path.relative_to(paths.ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((paths.ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
#: Modules that people start: they import late, so that ``--help`` and wrong arguments are answered at once.
COMMANDS = {
    "training_code.compare",
    "training_code.prepare_data",
    "training_code.check_data",
    "training_code.rethreshold",
    "training_code.search",
    "training_code.weights",
    "inference_code.cli",
    "inference_code.predict",
    "inference_code.serve",
    "inference_code.teach",
    *(name for name in FILES if name.endswith(".__main__")),
}
LINES, PARAMETERS = 300, 6


def _imported(tree):
    """Return every import with the modules of the project that it names, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield node, {name if name in FILES else node.module for name in whole}
        elif isinstance(node, ast.Import):
            yield node, {alias.name for alias in node.names}


def _circles(graph):
    """Return the modules that lead back to themselves."""
    found = []
    for start in graph:
        seen, waiting = set(), list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph.get(name, ())
        if start in seen:
            found.append(start)
    return found


def test_no_module_leads_back_to_itself_not_even_by_an_import_in_a_function():
    graph = {
        name: {each for _, names in _imported(tree) for each in names if each in FILES and each != name}
        for name, tree in TREES.items()
    }
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"], "the search finds circles"
    assert _circles(graph) == []


@pytest.mark.parametrize("name", sorted(set(FILES) - COMMANDS))
def test_an_import_in_a_function_has_its_reason_beside_it(name):
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    blocks = (node for node in TREES[name].body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    for block in blocks:
        for node, _ in _imported(block):
            around = lines[node.lineno - 2 : node.end_lineno]
            reasoned = "#" in around[1] or around[0].strip().startswith("#") or around[0].strip().startswith("import")
            assert reasoned, f"line {node.lineno} of {name}: say what the import would cost at the top"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_module_can_be_taken_in(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= LINES
    constructors = {spec.path for spec in DETECTORS.values()}  # they have anomalib's arguments
    for node in ast.walk(TREES[name]):
        inner = node.body if isinstance(node, ast.ClassDef) else ()
        if f"{name}:{getattr(node, 'name', '')}" in constructors:
            inner = [each for each in inner if getattr(each, "name", "") != "__init__"]
        elif isinstance(node, ast.Module):
            inner = node.body
        for function in inner:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                given = function.args
                names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                taken = [each for each in names if each not in ("self", "cls")]
                assert len(taken) <= PARAMETERS, f"{function.name} takes {', '.join(taken)}"


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_decided_by_the_class_of_a_detector_and_nothing_is_mocked(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "unittest" not in ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            assert node.attr != "__class__"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance" and ".detectors." not in name:
            classes = {each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in ast.walk(node)}
            assert not classes & {*DETECTORS, "AnomalibModule"}, ast.unparse(node)


def test_the_commands_are_there():
    assert COMMANDS <= set(FILES)
    assert all((paths.ROOT / Path(*name.split("."))).with_suffix(".py").is_file() for name in COMMANDS)

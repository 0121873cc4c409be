"""The state of the code that decides about the numbers of a detector, as a hash."""

import ast
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from training_code.detectors.registry import get_detector
from training_code.foundation import paths
from training_code.foundation.collection import rarely_collecting
from training_code.foundation.files import digest

#: Where a run begins, ``module:definition``; whatever these use by name is found from there.
STAGES = (
    "training_code.data.dataset:examine",
    "training_code.data.drawn:take_few",
    "training_code.backbones.weights:find_weights",
    "training_code.backbones.weights:random_weights",
)
#: Modules and definitions that decide about no number, wherever they are used.
WITHOUT_INFLUENCE = (
    "training_code.foundation.paths",  # where files lie
    "training_code.foundation.errors",  # messages about mistakes
    "training_code.foundation.yaml_files",  # where the images of a dataset lie; they have a fingerprint
    "training_code.foundation.cache",  # saves time: what it returns is checked by its hash
    "training_code.foundation.files:atomic_path",
    "training_code.records",  # what is kept of a run
    "training_code.display",  # what is drawn
    "training_code.data.demo",  # data have a fingerprint of their own in the identity
    "training_code.data.report",
    "training_code.backbones.store",  # weight files have one, too
    "training_code.evaluation.measurement",  # seconds and bytes
    "training_code.training.callbacks:TensorBoardExtras",
    "training_code.training.callbacks:EpochProgress",
    # Findings about the files of a dataset; a refused dataset never becomes a run.
    "training_code.data.checks",
    "training_code.data.findings",
    "training_code.data.published",
    "training_code.data.unread",
    "training_code.data.dataset:few_images",
    "training_code.data.dataset:shortage",
    "training_code.data.layout:_closed_folders",
    "training_code.data.layout:_no_layout",
    "training_code.data.layout:_other_masks",
    "training_code.data.layout:_shared_masks",
)
# Arguments of a specification that tables go by, and export.
_SHOWN = ("notebook", "told_by", "paper", "plain", "small", "not_exported", "published")
# Calls that only print or log, by the beginning or the end of the name.
_SAYING = ("print", "warn", "warnings", "logger", "logging", "note")
_PACKAGE, _EVERYTHING = "training_code", "*"


@cache
def code_hash(detector: str) -> str:
    """Return the SHA-256 of the code that decides about the numbers of a detector, given by its name."""
    return hash_of(detector, paths.CODE)


def hash_of(detector: str, root: Path) -> str:
    """Return `code_hash` of the package that lies in the folder ``root``."""
    with rarely_collecting():  # the trees of all modules are kept
        return digest(deciding_code(detector, root))


def deciding_code(detector: str, root: Path) -> dict[str, str]:
    """Return what the definitions do that decide about the numbers of a detector, by ``module:definition``.

    They are found from `STAGES`, the path of the detector's runs, its class, its specification and what it does before
    training: each definition at the top of a module that one of them uses by name, and so on. Comments, layout,
    docstrings, messages and `WITHOUT_INFLUENCE` do not count, nor do the folders of other detectors.
    """
    spec = get_detector(detector)
    folder = spec.path.split(":")[0].rpartition(".")[0]
    waiting = [*STAGES, spec.stages, spec.path, f"{folder}.spec:SPEC"]
    waiting += [spec.before_training] if spec.before_training else []
    files = _files(root)
    modules: dict[str, _Module] = {}
    found: dict[str, str] = {}
    while waiting:
        place = waiting.pop()
        module, _, name = place.partition(":")
        if place in found or not _counts(module, name, folder):
            continue
        if name and f"{module}.{name}" in files:  # a module that is imported as a whole
            waiting.append(f"{module}.{name}:{_EVERYTHING}")
            continue
        if module not in modules:
            modules[module] = _read(module, files[module].read_text(encoding="utf-8"))
            waiting.append(f"{module}:")  # what it does when it is imported
        found[place], used = modules[module].meaning(name)
        waiting += used
    return {place: meaning for place, meaning in found.items() if meaning}


@dataclass
class _Module:
    """The top level of a module, without messages."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    others: list[ast.stmt] = field(default_factory=list)  # that define nothing
    imports: dict[str, str] = field(default_factory=dict)  # what a name stands for, as ``module:definition``
    _meanings: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # detectors share them

    def meaning(self, name: str) -> tuple[str, list[str]]:
        """Return what the statements that `find` finds do, and the definitions that they use."""
        if name not in self._meanings:
            statements = self.find(name)
            does = "\n".join(ast.dump(statement) for statement in statements)
            self._meanings[name] = does, [used for statement in statements for used in self.uses(statement)]
        return self._meanings[name]

    def find(self, name: str) -> list[ast.stmt]:
        """Return the statements that define ``name``, or the method ``class.name``; all others for no name."""
        if not name:
            return self.others
        if name == _EVERYTHING:
            return [statement for found in self.definitions.values() for statement in found]
        owner, _, member = name.partition(".")
        found = self.definitions.get(owner, [])
        if not member:
            return found
        bodies = (statement.body for statement in found if isinstance(statement, ast.ClassDef))
        return [inner for body in bodies for inner in body if getattr(inner, "name", None) == member]

    def uses(self, statement: ast.stmt) -> list[str]:
        """Return the definitions of the package that a statement names."""
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        here = [f"{self.name}:{name}" for name in names if name in self.definitions]
        return here + [self.imports[name] for name in names if name in self.imports]


def _counts(module: str, name: str, folder: str) -> bool:
    """Return whether a definition may decide about the numbers of the detector whose package is ``folder``."""
    parts = module.split(".")
    above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    of_a_detector = parts[1:2] == ["detectors"] and len(parts) > 3
    return (
        not above & {*WITHOUT_INFLUENCE}
        and f"{module}:{name}" not in WITHOUT_INFLUENCE
        and (folder in above or not of_a_detector)
    )


@cache  # detectors share most modules
def _read(name: str, source: str) -> _Module:
    """Read the top level of a module."""
    tree = ast.parse(source)
    module = _Module(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            module.imports |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
    for statement in _WithoutWords().visit(tree).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    module.definitions.setdefault(node.id, []).append(statement)
        elif not isinstance(statement, ast.Import | ast.ImportFrom):
            module.others.append(statement)
    return module


def _files(root: Path) -> dict[str, Path]:
    """Return the sources of all modules and packages, by their names with dots."""
    begins = len(f"{root}{os.sep}")
    sources = (root / _PACKAGE).rglob("*.py")
    names = {str(source)[begins:].removesuffix(".py").replace(os.sep, "."): source for source in sources}
    return {name.removesuffix(".__init__"): source for name, source in names.items()}


class _WithoutWords(ast.NodeTransformer):
    """Removes from a program what only people read: docstrings, and texts of several words."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant) or (isinstance(value, ast.Call) and _says(value)):
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        exception = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exception, None)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) and len(node.value.split()) > 1 else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        words = "x".join(str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values)
        return ast.Constant("") if len(words.split()) > 1 else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "DetectorSpec":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _SHOWN]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _says(call: ast.Call) -> bool:
    names = ast.unparse(call.func).split(".")
    return names[0] in _SAYING or names[-1] in _SAYING

"""A plugin of pytest: what test modules import is imported when the first of their tests runs, and not to collect them.

Importing anomalib takes as long as a third of the fast tests. While tests are collected, imports at the top of
test modules give a placeholder; the real objects replace them before the first test of the module is set up. A
placeholder that is used before (called, iterated, inherited from) makes its import at once, which is how tests
are parametrized from a registry, unless that would bring in one of the `HEAVY` libraries: then it is an error.
Two things it cannot see: fixtures that are imported into a test module, and the word ``is`` (`skipif(NAME is None)`
never skips; `skipif(not NAME)` imports NAME and does).
"""

import builtins
import functools
import importlib.abc
import operator
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TESTS = str(Path(__file__).parents[1])
# Everything else that takes more than half a second brings in one of these, or is seldom imported.
HEAVY = {"anomalib", "lightning", "matplotlib", "mlflow", "nbformat", "pandas", "papermill", "ray", "scipy", "sklearn"}
HEAVY |= {"torch", "torchvision"}

_import = builtins.__import__


class Late:
    """A placeholder for an object that is not imported yet; `late_find` imports it."""

    __slots__ = ("__name__", "late_find", "late_user")

    def __init__(self, name: str, find: Callable[[], Any], user: str) -> None:
        self.__name__, self.late_find, self.late_user = name, find, user

    def __getattr__(self, name: str) -> "Late":
        if name.startswith("__") and name != "__main__":  # what pytest and inspect ask of any object
            raise AttributeError(name)
        return Late(name, lambda: _attribute(self.late_find(), name), self.late_user)

    def __repr__(self) -> str:
        return f"<{self.__name__}, imported when the first test of {self.late_user} runs>"

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (now(self),)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "__call__": operator.call,
    "__getitem__": operator.getitem,
    "__contains__": operator.contains,
    "__iter__": iter,
    "__len__": len,
    "__bool__": bool,
    "__str__": str,
    "__format__": format,
    "__hash__": hash,
    "__fspath__": os.fspath,
    "__eq__": operator.eq,
    "__lt__": operator.lt,
    "__gt__": operator.gt,
    "__add__": operator.add,
    "__sub__": operator.sub,
    "__mul__": operator.mul,
    "__truediv__": operator.truediv,
    "__or__": operator.or_,
    "__ror__": lambda right, left: left | right,
    "__rmul__": lambda right, left: left * right,
    "__radd__": lambda right, left: left + right,
}


def _on_the_object(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *arguments, **options: operation(now(self), *arguments, **options)


for _method, _operation in _OPERATIONS.items():
    setattr(Late, _method, _on_the_object(_operation))


def now(value: Any) -> Any:
    """Return what a placeholder stands for, and any other value with the placeholders in it replaced."""
    if type(value) is Late:
        with _real_imports(), _refusing(value):
            return value.late_find()
    if type(value) is list:
        value[:] = [now(entry) for entry in value]
    elif type(value) is dict:
        value.update({key: now(entry) for key, entry in value.items()})
    elif type(value) is tuple:
        entries = [now(entry) for entry in value]
        return value if all(new is old for new, old in zip(entries, value, strict=True)) else tuple(entries)
    return value


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        if isinstance(owner, ModuleType) and f"{owner.__name__}.{name}" in sys.modules:
            return sys.modules[f"{owner.__name__}.{name}"]
        raise


def _late_import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> ModuleType | Late:
    """Stand in for `__import__` while tests are collected: a placeholder where a test module imports at its top."""
    file = (globals or {}).get("__file__") or ""
    top = locals is globals and file.startswith(TESTS) and Path(file).name.startswith("test_")
    if not top or level or "*" in (fromlist or ()) or _is_cheap(name, fromlist or ()):
        return _import(name, globals, locals, fromlist, level)

    @functools.cache
    def find() -> ModuleType:
        return _import(name, globals, locals, fromlist, level)

    globals.setdefault("__late_imports__", []).append(find)
    return Late(name.rpartition(".")[2] if fromlist else name.partition(".")[0], find, file)


def _is_cheap(name: str, fromlist: tuple[str, ...]) -> bool:
    """Return whether the import is of the standard library or finds all it names loaded, pytest for one."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return True
    return name in sys.modules and all(wanted in vars(sys.modules[name]) for wanted in fromlist)


class _Refuse(importlib.abc.MetaPathFinder):
    """Refuses to find heavy libraries, for the placeholder whose use imports them."""

    def __init__(self, used: Late) -> None:
        self.used = used

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in HEAVY:
            raise pytest.UsageError(
                f"{self.used.late_user} uses {self.used.__name__} while tests are collected, which imports {fullname} "
                "and makes every run of tests wait for it; use it in a fixture or a test, or parametrize by names"
            )


_collecting = False


@contextmanager
def _refusing(used: Late) -> Iterator[None]:
    """Refuse heavy libraries while tests are collected."""
    finder = _Refuse(used)
    if _collecting:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


@contextmanager
def _real_imports() -> Iterator[None]:
    """Import for real: what is imported for a placeholder must not hold placeholders itself."""
    before, builtins.__import__ = builtins.__import__, _import
    try:
        yield
    finally:
        builtins.__import__ = before


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Give placeholders while tests are collected."""
    global _collecting
    _collecting, builtins.__import__ = True, _late_import
    try:
        return (yield)
    finally:
        _collecting, builtins.__import__ = False, _import


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Import what the module of a test imports, before anything else is done for its first test."""
    import_now(vars(item.getparent(pytest.Module).obj))
    if hasattr(item, "callspec"):
        now(item.callspec.params)
    return (yield)


def import_now(module: dict[str, Any]) -> None:
    """Make the imports of a test module, given its globals, and replace the placeholders in them."""
    if (imports := module.pop("__late_imports__", None)) is None:  # done at an earlier test: there is none to replace
        return
    for find in imports:
        find()
    for name, value in list(module.items()):
        module[name] = now(value)

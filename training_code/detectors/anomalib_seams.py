"""The one seam to what anomalib's classes make themselves: models, their parts, and feature extractors.

anomalib's constructors look up the classes of their parts by name in their own module. `rebound` gives such a
constructor in which chosen names mean other classes: nothing of anomalib is copied, nothing in its modules is changed,
and for all other code the names keep their meaning. If a later anomalib no longer looks a name up, that is an error
at once.
"""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from anomalib.models.components import TimmFeatureExtractor

T = TypeVar("T")
_extractor: ContextVar[Callable[[], TimmFeatureExtractor] | None] = ContextVar("_extractor", default=None)


def rebound(constructor: Any, **parts: Any) -> Callable[..., None]:
    """Return a bound constructor of an anomalib class that makes ``parts`` in place of the classes of these names.

    Call it with ``super().__init__`` in the constructor of a subclass.

    Raises
    ------
    TypeError
        If the constructor does not look one of the names up.
    """
    function = constructor.__func__
    return types.MethodType(_with_parts(function, parts), constructor.__self__)


def derived(cls: type[T], **parts: Any) -> type[T]:
    """Return a subclass of an anomalib class whose constructor makes ``parts``; see `rebound`."""
    return type(cls.__name__, (cls,), {"__init__": _with_parts(cls.__init__, parts), "__module__": cls.__module__})


@contextmanager
def extracting_with(make: Callable[[], TimmFeatureExtractor] | None) -> Iterator[None]:
    """Have detectors that are built inside the block take the extractor that ``make`` gives; None for anomalib's."""
    token = _extractor.set(make)
    try:
        yield
    finally:
        _extractor.reset(token)


def feature_extractor(backbone: str, layers: Any, pre_trained: bool = True) -> TimmFeatureExtractor:
    """Return the extractor of the block of `extracting_with`, outside of one anomalib's own by these arguments."""
    make = _extractor.get()
    return TimmFeatureExtractor(backbone, layers, pre_trained) if make is None else make()


def _with_parts(function: Any, parts: dict[str, Any]) -> Any:
    if missing := ", ".join(sorted(set(parts) - _names(function.__code__))):
        raise TypeError(f"{function.__module__}.{function.__qualname__} of anomalib makes no {missing}")
    own = types.FunctionType(
        function.__code__,
        {**function.__globals__, **parts},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    own.__kwdefaults__ = function.__kwdefaults__
    own.__annotations__, own.__qualname__ = function.__annotations__, function.__qualname__
    return own


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function looks up, those in its comprehensions included."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)

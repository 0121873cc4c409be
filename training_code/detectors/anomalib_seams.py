"""The one seam to what anomalib's classes make themselves: models, their parts, and feature extractors.

anomalib's constructors look up the classes of their parts by name in their own module. `rebound` gives such a
constructor in which chosen names mean other classes: nothing of anomalib is copied, nothing in its modules is changed,
and for all other code the names keep their meaning. If a later anomalib no longer looks a name up, that is an error
at once.
"""

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from anomalib.models.components import TimmFeatureExtractor
from torch import nn

from training_code.backbones.backbone import Backbone
from training_code.features.extractor import FeatureExtractor
from training_code.features.store import FeatureStore
from training_code.features.tokens import TokenExtractor, TokenKind
from training_code.protocol import ComputeOptions

T = TypeVar("T")


@dataclass(frozen=True)
class FeatureSource:
    """A loaded network with all that says what detectors take of it, and how: see `FeatureExtractor`."""

    network: nn.Module
    backbone: Backbone
    layers: Sequence[str]
    compute: ComputeOptions
    store: FeatureStore | None = None


_source: ContextVar[FeatureSource | None] = ContextVar("_source", default=None)


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


def remade(function: Callable[..., T], **parts: Any) -> Callable[..., T]:
    """Return a function of an anomalib class, for a subclass of it, that takes ``parts``; see `rebound`."""
    return _with_parts(function, parts)


@contextmanager
def extracting_with(source: FeatureSource | None) -> Iterator[None]:
    """Have detectors that are built inside the block take features of ``source``; None for networks of anomalib's."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def feature_extractor(backbone: str, layers: Any, pre_trained: bool = True) -> TimmFeatureExtractor:
    """Return the extractor of the block of `extracting_with`, outside of one anomalib's own by these arguments."""
    source = _source.get()
    if source is None:
        return TimmFeatureExtractor(backbone, layers, pre_trained)
    return FeatureExtractor(source.network, source.backbone, source.layers, source.compute, source.store)


def token_extractor(
    backbone: str, layers: Any, pre_trained: bool = True, *, norm: bool = True, return_class_token: bool = False
) -> TimmFeatureExtractor:
    """Return what gives the tokens of a transformer after its blocks, as `feature_extractor` gives maps.

    Parameters
    ----------
    backbone, layers, pre_trained
        Of anomalib's own, outside of a block of `extracting_with`.
    norm, return_class_token
        As in `TokenKind`.
    """
    source = _source.get()
    kind = TokenKind(norm, return_class_token)
    if source is None:
        return TimmFeatureExtractor(backbone, layers, pre_trained, output_fmt="NLC", **asdict(kind))
    return TokenExtractor(source.network, source.backbone, source.layers, source.compute, source.store, kind)


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

"""Parts of a computation that do not depend on each other: done in this process, or where a sweep has room for them."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

#: Environment variable that names an `Executor` as ``module:class``; without it this process does all parts.
EXECUTOR_VARIABLE = "ANOMALY_EXECUTOR"

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Pending(Protocol[Result_co]):
    """A part that was begun."""

    def done(self) -> bool:
        """Return whether its result is there."""

    def result(self) -> Result_co:
        """Return its result, and wait until it is there."""


class Executor(Protocol):
    """Does parts here or elsewhere.

    Attributes
    ----------
    elsewhere
        How many parts other processes have done.
    """

    elsewhere: int

    def begin(self, function: Callable[..., Result], arguments: tuple[Any, ...], held: int) -> Pending[Result]:
        """Begin a part elsewhere, or do it now.

        Parameters
        ----------
        function
            A function of a module, which other processes can import, that does not change its arguments; the same
            arguments give the same result wherever it is called.
        arguments
            Plain data and arrays of NumPy.
        held
            Bytes of memory that are taken in this process until the result is there.
        """

    def close(self) -> None:
        """Let go of whatever does parts elsewhere; parts may be begun again afterwards."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A part that was done at once."""

    value: Result

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> Result:
        """Return its result."""
        return self.value


class InThisProcess:
    """Does each part when it is begun."""

    elsewhere = 0

    def begin(self, function: Callable[..., Result], arguments: tuple[Any, ...], held: int) -> Done[Result]:
        """Do a part."""
        return Done(function(*arguments))

    def close(self) -> None:
        """Do nothing."""


def find_executor() -> Executor:
    """Return what does the parts of this process' computations: what the environment names, or this process."""
    named = os.environ.get(EXECUTOR_VARIABLE)
    if not named:
        return InThisProcess()
    module, name = named.split(":")
    executor: Executor = getattr(importlib.import_module(module), name)()
    return executor

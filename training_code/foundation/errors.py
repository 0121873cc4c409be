"""Errors for the person who made the mistake: one sentence with the file or value and the valid choices."""

import difflib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable

from training_code.foundation.program import missing_extra


class InputError(ValueError):
    """Something that was given to the project is wrong; the message says what and what would be right."""

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the sentence alone, since the mistake is not in the code."""
        return [f"{type(self).__name__}: {self}"]


class MissingWeightsError(InputError):
    """A backbone's weight file does not lie in ``weights/``; the message says how to get it."""


class MissingRunError(InputError):
    """A run that others are combined with is not there, or has no result; the message says which."""


def choices(names: Iterable[object]) -> str:
    """Return names as a readable list for an error message."""
    return ", ".join(str(name) for name in names)


def suggestion(name: object, valid: Iterable[str]) -> str:
    """Return `` (did you mean …?)`` with the valid name nearest to ``name`` in any case, nothing if none is near."""
    by_name = {each.casefold(): each for each in valid}
    near = difflib.get_close_matches(str(name).casefold(), list(by_name), n=1)
    return f" (did you mean {by_name[near[0]]!r}?)" if near else ""


def unknown(kind: str, name: object, valid: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the valid ones and, if one is near, a suggestion."""
    valid = list(valid)
    return InputError(f"unknown {kind} {name!r}{suggestion(name, valid)}; valid: {choices(valid)}")


def run_command(main: Callable[[list[str]], int], arguments: list[str] | None = None, extra: str | None = None) -> int:
    """Run a command's ``main`` and turn what people can mend into one line on standard error and exit status 2.

    ``--debug`` anywhere among the arguments shows the traceback as well.

    Parameters
    ----------
    extra
        The extra of ``pyproject.toml`` that the command needs: where a package of it is missing, the line says so.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows another one in its place
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return main([argument for argument in arguments if argument != "--debug"])
    except InputError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (sentence := missing_extra(error, extra)) is None:
            raise
        if debug:
            traceback.print_exc()
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output, for instance head, closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a file that may not be read, a disk that is full
        if debug:
            traceback.print_exc()
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        print(f"error: {': '.join([error.strerror or str(error), *names])}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130

"""The program as people install and start it: names of commands in their help, messages about missing extras."""

import argparse
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: The name under which pip knows this project.
DISTRIBUTION = "anomaly-detection-experiments"
#: Extras of ``pyproject.toml`` and what needs them; of a package in several extras the first one is named.
EXTRAS = {
    "sweep": "a sweep needs",
    "search": "the search needs",
    "serve": "the service needs",
    "export": "exported files need",
    "report": "the comparison needs",
    "notebooks": "notebooks need",
    "labels": "detectors that learn from labels need",
    "scale": "an index of the memory bank needs",
    "words": "detectors that compare images with words need",
    "line": "verdicts over MQTT need",
    "int8": "files of 8-bit integers need",
    "elpv": "the photographs of solar cells need",
}
#: Modules whose packages have other names.
PACKAGES = {"ipykernel_launcher": "ipykernel", "mlflow": "mlflow-skinny", "faiss": "faiss-cpu", "paho": "paho-mqtt"}

_started_as: str | None = None


@contextmanager
def started_as(name: str) -> Iterator[None]:
    """Have the help of the command that runs in the block call it ``name``, for instance ``anomaly sweep``."""
    global _started_as
    before, _started_as = _started_as, name
    try:
        yield
    finally:
        _started_as = before


def called(folder: Path) -> str:
    """Return how people call ``anomaly`` in ``folder``: by its name where the shell finds it, otherwise by its path."""
    file = Path(sys.executable).with_name("anomaly")
    if not file.is_file() or ((found := shutil.which("anomaly")) and Path(found).samefile(file)):
        return "anomaly"
    return shlex.quote(str(file.relative_to(folder) if file.is_relative_to(folder) else file))


def _say_terminated() -> None:
    print("terminated", file=sys.stderr)


@contextmanager
def cleaning_up_at_sigterm(say: Callable[[], None] = _say_terminated) -> Iterator[None]:
    """Have SIGTERM end the block as Ctrl-C does: what it began is cleaned up, and the exit status is 143.

    Python by itself ends at once, and leaves behind whatever it has started.

    Parameters
    ----------
    say
        Is called when the signal comes.
    """
    status: int | None = None

    def end(number: int, _: object) -> None:
        nonlocal status
        status = 128 + number
        say()
        raise SystemExit(status)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread, which is the one that gets signals
        yield
        return
    try:
        yield
    except SystemExit as error:
        raise error if status is None else SystemExit(status) from None  # Ray makes 1 of every status
    finally:
        signal.signal(signal.SIGTERM, before)


def command_parser(module: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of a command; its help names the command as it was started.

    Parameters
    ----------
    module
        What ``python -m`` runs.
    description
        What the command does; of a module's docstring the text after the example of a call.
    """
    description = re.sub(r"^``python -m [^`]*``: ", "", description).replace("``", "")
    return argparse.ArgumentParser(
        prog=_started_as or f"python -m {module}",
        description=f"{description[:1].upper()}{description[1:]}",
        epilog=epilog,
    )


def missing_extra(error: ModuleNotFoundError, wanted: str | None = None) -> str | None:
    """Return the sentence for a package of an extra that is not installed; None for any other module.

    Parameters
    ----------
    wanted
        The extra of the command that was run, which is searched before the others.
    """
    # Only now: it takes 20 ms, a quarter of what --help takes.
    from importlib.metadata import PackageNotFoundError, requires

    top = (error.name or "").partition(".")[0]
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # the project was never installed, so that its extras are unknown
        return None
    for extra in sorted(EXTRAS, key=lambda name: name != wanted):
        if normalized(PACKAGES.get(top, top)) in _packages(extra, lines):
            return f'{EXTRAS[extra]} packages that are not installed: pip install "{DISTRIBUTION}[{extra}]"'
    return None


def normalized(requirement: str) -> str:
    """Return the name of the package that a requirement is about, as indexes write it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def _packages(extra: str, lines: list[str]) -> set[str]:
    """Return the packages of an extra, with those of the extras that it names."""
    found = set()
    for line in lines:
        if not re.search(rf"""extra == ["']{extra}["']""", line):
            continue
        if inner := re.match(rf"{DISTRIBUTION}\[([^]]*)\]", line):
            found |= {package for name in inner[1].split(",") for package in _packages(name.strip(), lines)}
        else:
            found.add(normalized(line))
    return found

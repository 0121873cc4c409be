"""The commands that pages show in blocks of code, and what is wrong with one: asked of the real parsers."""

import argparse
import ast
import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Callable, Iterator
from unittest.mock import patch

from inference_code.cli import COMMANDS
from inference_code.export import formats as export
from training_code.foundation import paths
from training_code.foundation.errors import InputError, unknown
from training_code.protocol import PRECISIONS
from training_code.reporting import export as tables

#: Programs whose commands are not tried, with the reason. All others are: their arguments by their own parser.
NOT_TRIED = {
    "#!/bin/bash": "the head of a script for Slurm",
    "cd": "of a script for Slurm, which has a folder of its own",
    "conda": "installs gigabytes from the network; the file that it reads is there",
    "curl": "needs a service; tests/end_to_end/test_serve.py sends such requests, the address is looked up here",
    "export": "sets a variable of the shell",
    "jupyter": "opens a browser and waits; the notebook that it opens is there",
    "pip": "fetches from the network; the extras that it names are looked up",
    "pre-commit": "writes into .git",
    "ray": "starts a cluster of several machines; tests/end_to_end/test_cluster.py starts one on this machine",
    "scontrol": "needs Slurm",
    "sleep": "waits for a cluster",
    "srun": "needs Slurm",
}
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
# A word in capital letters stands for one of the values that the command takes.
_PLACEHOLDER = re.compile(r"invalid (choice|\w+ value): '[A-Z]+'")
_PYTHON = ("python", "python3", ".venv/bin/python")
_MODULE = re.compile(r"(?:training|inference)_code[\w.]*")


class _Parsed(Exception):  # noqa: N818  # not an error: the arguments are right
    """The parser has taken the arguments, and nothing else of the command is to be done; the options are its value."""


def blocks(page: str, *languages: str) -> Iterator[str]:
    """Yield the blocks of code of a page in these languages."""
    for indent, language, text in _BLOCK.findall(page):
        if language in languages:
            yield re.sub(rf"^{indent}", "", text, flags=re.M)


def commands(page: str) -> Iterator[str]:
    """Yield every command in the blocks of a page: of shells, and those without a language that begin with one."""
    for text in blocks(page, "bash", "sh", "console", "shell", ""):
        lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
        if any(_is_command(line) for line in lines):
            yield from (line.strip() for line in lines if not re.match(r"\s*#(?!!)", line))


def named(page: str) -> Iterator[str]:
    """Yield the commands in the sentences of a page, which may lack arguments; of alternatives the first one."""
    text = re.sub(r"(?<=\w)(?:(?: ?\\?\| ?\w+)+(?=`)|(?:\|\w+)+(?= ))", "", _BLOCK.sub("", page))
    yield from re.findall(rf"`((?:\.venv/bin/)?(?:anomaly [a-z-]|python -m {_MODULE.pattern})[^`]*)`", text)


def fault(command: str) -> str | None:
    """Return what is wrong with a command, None where it may be typed as it stands."""
    if inner := re.fullmatch(r"\w+=\$\((.*?)(?: \|.*)?\)", command):
        command = inner[1]
    words = shlex.split(command.replace("#!", "\\#!"), comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):  # variables for this command, or for the shell
        words.pop(0)
    if not words:
        return None
    program = words[0].removeprefix(".venv/bin/")
    arguments = [word for word in words[1:] if word not in ("&", "...]", "…", "...", "[RUN")]
    if program in NOT_TRIED:
        return _OTHERS.get(program, _nothing)(arguments) or _missing_file(arguments)
    if program == "make":
        return _make(arguments)
    if program == "anomaly":
        name, *rest = arguments or [""]
        if name in ("--help", "--version"):
            return None
        if name not in COMMANDS:
            return f"there is no command anomaly {name}"
        return _parsing(COMMANDS[name][0], rest) or _missing_file(rest)
    if words[0] in _PYTHON:
        return _python(arguments)
    return f"{words[0]} is no program that this project has; one that cannot be tried has its reason in NOT_TRIED"


def _is_command(line: str) -> bool:
    first = line.split()[0].removeprefix(".venv/bin/")
    return first in ("make", "anomaly", "python", "python3", *NOT_TRIED)


def _python(arguments: list[str]) -> str | None:
    arguments = [each for each in arguments if each not in ("-W", "ignore")]
    if arguments[:1] == ["-m"] and _MODULE.fullmatch(arguments[1]):
        module = arguments[1]
        if not (paths.ROOT.joinpath(*module.split(".")).with_suffix(".py")).is_file():
            module += ".__main__"
        return _parsing(module, arguments[2:]) or _missing_file(arguments[2:])
    if arguments[:1] == ["-c"]:
        ast.parse(arguments[1])
        return None
    if arguments and arguments[0].endswith(".py"):
        script = paths.ROOT / arguments[0]
        if not script.is_file():
            return f"{arguments[0]} is not there"
        source = script.read_text(encoding="utf-8")
        options = [each.partition("=")[0] for each in arguments[1:] if each.startswith("--")]
        unknown = [option for option in options if f'"{option}"' not in source]
        return f"{arguments[0]} has no {unknown[0]}" if unknown else None
    return f"python {' '.join(arguments)} starts nothing of this project"


def _parsing(module: str, arguments: list[str]) -> str | None:
    """Return what the parser of a module says against arguments."""
    try:
        main = importlib.import_module(module).main
    except ModuleNotFoundError:
        return f"there is no module {module}"
    said = io.StringIO()
    with _only_parsing(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main(arguments)
        except _Parsed as parsed:
            return _checked(module, parsed.args[0])
        except InputError as error:
            return str(error)
        except SystemExit as end:
            error = said.getvalue().strip().splitlines()[-1]
            return None if end.code == 0 or _PLACEHOLDER.search(error) else error
    return f"{module} parsed no arguments"


def _checked(module: str, options: argparse.Namespace) -> str | None:
    """Return what the program says, after parsing, of a choice that its parser takes as it is."""
    files = {"format": export.FORMATS, "precision": export.FILE_PRECISIONS}
    valid = {"inference_code.export": files, "training_code.compare": {"format": tables.FORMATS}}
    known = valid.get(module.removesuffix(".__main__"), {"precision": (*PRECISIONS, "int8")})
    for name, names in known.items():
        value = getattr(options, name, None)
        if value is not None and value not in names and not value.isupper():
            return str(unknown(name, value, names))
    return None


@contextlib.contextmanager
def _only_parsing() -> Iterator[None]:
    """Have a command end as soon as its arguments are parsed."""

    def stopping(parse: Callable) -> Callable:
        def parsed(*arguments: object, **named: object) -> None:
            raise _Parsed(parse(*arguments, **named))

        return parsed

    parser = argparse.ArgumentParser
    with (
        patch.object(parser, "parse_args", stopping(parser.parse_args)),
        patch.object(parser, "parse_intermixed_args", stopping(parser.parse_intermixed_args)),
    ):
        yield


def _missing_file(arguments: list[str]) -> str | None:
    """Return which file of the repository is named and not there; words in capital letters stand for others."""
    for argument in arguments:
        name = argument.partition("=")[2] or argument
        ours = re.match(r"(?:sweeps|notebooks|docs|tests|training_code|inference_code)/|environment\.yml$", name)
        if ours and not (paths.ROOT / name).exists():
            return f"{name} is not there"
    return None


def _make(arguments: list[str]) -> str | None:
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    for argument in arguments:
        name, given, _ = argument.partition("=")
        if given and not re.search(rf"\$\((?:or \$\()?{name}\)|^{name} \?=", makefile, re.M):
            return f"the Makefile uses no {name}"
        if not given and not re.search(rf"^{re.escape(name)}:", makefile, re.M):
            return f"the Makefile has no target {name}"
    return _missing_file(arguments)


def _pip(arguments: list[str]) -> str | None:
    project = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for argument in arguments[1:]:
        extras = re.fullmatch(r"[\w.-]*\[([\w,]+)\]", argument)
        for name in extras[1].split(",") if extras else []:
            if not re.search(rf"^{name} = \[", project, re.M):
                return f"pyproject.toml has no extra {name}"
    return None


def _curl(arguments: list[str]) -> str | None:
    served = set()
    for path in (paths.ROOT / "inference_code/service/routes").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        prefix = "".join(re.findall(r'prefix="([^"]*)"', source)[:1])
        served |= {prefix + route for route in re.findall(r'@router\.\w+\(\s*"([^"]*)"', source)}
    for argument in arguments:
        if (address := re.match(r"http://127\.0\.0\.1:8000(/[\w/]*)", argument)) and address[1] not in served:
            return f"the service has no {address[1]}"
    return None


def _nothing(arguments: list[str]) -> None:
    return None


_OTHERS: dict[str, Callable[[list[str]], str | None]] = {"pip": _pip, "curl": _curl}

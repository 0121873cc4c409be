"""The YAML files that people write, sweep files and descriptions of datasets, read by the rules of YAML 1.2."""

import math
import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from training_code.foundation.errors import InputError

# Deeper, or with more values once aliases are written out, is no file that a person wrote.
_DEEPEST, _MOST_VALUES = 50, 100_000
# Digits of the largest whole number that is read as one.
_DIGITS = 18
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
#: The core schema of YAML 1.2, https://yaml.org/spec/1.2.2/#103-core-schema; what is none of these is text.
_CORE = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
}
_KINDS = {kind: re.compile(pattern) for kind, pattern in _CORE.items()}


class WrittenInt(int):
    """A whole number that knows how it was written, ``007`` for instance, for where it turns out to be a name."""

    text: str


class WrittenFloat(float):
    """As `WrittenInt`, for other numbers."""

    text: str


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file as plain data; all keys are text.

    Plain scalars are what the core schema of YAML 1.2 says: ``no``, ``off``, ``2024_01`` and ``2024-01-15`` are text,
    ``1e-1`` is a number. Numbers that are not finite or have more than 18 digits stay text. Numbers that are written
    in another way than Python writes them are `WrittenInt` or `WrittenFloat`. Aliases and merge keys (``<<``) are read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If it cannot be read, is not valid YAML, gives a key twice, or is nested or repeats itself beyond all measure;
        the message names the line.
    """
    text = _decode(path)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _Reader(path).value(node)
    except InputError:
        raise
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _invalid(path, line, f"the character U+{ord(text[error.position]):04X} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise _invalid(path, mark.line + 1 if mark else None, problem) from error
    except (ValueError, OverflowError) as error:  # PyYAML lets these pass
        where = loader.line + 1 if loader else None
        raise _invalid(
            path, where, "it holds an escape that is no character, or a version that is no number"
        ) from error


def as_text(value: Any) -> Any:
    """Return a number as it was written, where a name is meant; anything else as it is."""
    if isinstance(value, WrittenInt | WrittenFloat):
        return value.text
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def as_plain(value: Any) -> Any:
    """Return data without the spelling of its numbers."""
    if isinstance(value, dict):
        return {key: as_plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [as_plain(member) for member in value]
    if isinstance(value, WrittenInt):
        return int(value)
    return float(value) if isinstance(value, WrittenFloat) else value


class _Loader(yaml.SafeLoader):
    """PyYAML's loader up to the tree of nodes, with the rules of YAML 1.2, and refusing bottomless nesting."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
        None: [(_TAG + kind, re.compile(f"(?:{pattern})\\Z")) for kind, pattern in _CORE.items()]
    }
    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Return the next node; PyYAML calls this again for what it holds."""
        self.depth += 1
        if self.depth > _DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, f"it is nested more than {_DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Makes data of the nodes of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values = self.depth = 0

    def value(self, node: Node) -> Any:
        """Return what a node stands for."""
        self.values, self.depth = self.values + 1, self.depth + 1
        if self.values > _MOST_VALUES:
            raise self._error(node, f"its aliases stand for more than {_MOST_VALUES:,} values")
        if self.depth > _DEEPEST:
            raise self._error(node, f"it is nested more than {_DEEPEST} levels deep, or holds itself")
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            found: Any = self._mapping(node)
        elif isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            found = [self.value(member) for member in node.value]
        elif isinstance(node, ScalarNode):
            found = self._scalar(node)
        else:
            raise self._unknown_tag(node)
        self.depth -= 1
        return found

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise self._error(key, "a key must be a name, not a list or a mapping")
            name, line = self._text(key), key.start_mark.line + 1
            if name in lines:
                raise self._error(key, f"the key {name!r} is given twice, first in line {lines[name]}")
            lines[name] = line
            if name == _MERGE and key.style is None:
                merged = self._merged(value)
            else:
                own[name] = self.value(value)
        return merged | own

    def _merged(self, node: Node) -> dict[str, Any]:
        """Return what a merge key adds; of several mappings the first one counts."""
        added = self.value(node)
        mappings = added if isinstance(added, list) else [added]
        result: dict[str, Any] = {}
        for mapping in mappings:
            if not isinstance(mapping, dict):
                raise self._error(node, f"{_MERGE} takes a mapping or a list of mappings")
            result = mapping | result
        return result

    def _scalar(self, node: ScalarNode) -> Any:
        text = self._text(node)
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return text
        if kind not in _KINDS:
            raise self._unknown_tag(node)
        if kind == "float" and _KINDS["int"].fullmatch(text):  # !!float 1
            return float(text)
        if not _KINDS[kind].fullmatch(text):
            raise self._error(node, f"{text!r} is no {kind}")
        if kind == "null":
            return None
        return text.lower() == "true" if kind == "bool" else _number(kind, text)

    def _text(self, node: ScalarNode) -> str:
        text = node.value
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(node, "it holds a character that no name and no text can have")
        return text

    def _unknown_tag(self, node: Node) -> InputError:
        return self._error(node, f"the tag {node.tag.replace(_TAG, '!!')} has no meaning here")

    def _error(self, node: Node, text: str) -> InputError:
        return InputError(f"{self.path}, line {node.start_mark.line + 1}: {text}")


def _number(kind: str, text: str) -> int | float | str:
    if kind == "float":
        return text if not math.isfinite(number := float(text)) else _written(WrittenFloat(number), text)
    if len(text) > _DIGITS:
        return text
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return _written(WrittenInt(int(text, base)), text)


def _written(number: WrittenInt | WrittenFloat, text: str) -> int | float:
    """Return a number with its spelling where that is not Python's own."""
    if str(number) == text:
        return as_plain(number)
    number.text = text
    return number


def _decode(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 as Windows' editors write it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _invalid(path, line, f"it is not text in {encoding.removesuffix('-sig').upper()}") from error


def _invalid(path: Path, line: int | None, problem: str) -> InputError:
    where = "" if line is None else f"line {line}: "
    return InputError(f"{path} is not valid YAML: {where}{' '.join(problem.split())}")

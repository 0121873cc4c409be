"""YAML files that people write, read by the rules of YAML 1.2."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_code.foundation.errors import InputError
from training_code.foundation.yaml_files import as_plain, as_text, read_yaml


def _read(folder, content):
    path = Path(folder) / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    return read_yaml(path)


# Of the core schema, https://yaml.org/spec/1.2.2/#103-core-schema, and what YAML 1.1 made of some.
@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((word, word) for word in ("yes", "no", "on", "off", "y", "N", "Off", "nan", "=", "<<")),
        *((word, word) for word in ("2024-01-15", "2024-01-15 10:00:00", "2024_01", "1_000", "12:30:45", "0b11")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("~", "null", "Null", "NULL", "")),
        ("0", 0), ("-19", -19), ("+5", 5), ("010", 10), ("007", 7), ("0o17", 15), ("0x1F", 31),
        ("1e-1", 0.1), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-1.5E+2", -150.0), ("1.10", 1.1),
        *((word, word) for word in (".inf", "-.inf", ".nan", "1e999")),  # no numbers to compute with
        ("1234567890123456789012", "1234567890123456789012"),
        ("'007'", "007"), ("!!str 007", "007"), ("!!float 1", 1.0), ("!!int 0x10", 16),
    ],
)  # fmt: skip
def test_a_plain_value_is_what_yaml_1_2_says(tmp_path, written, value):
    found = _read(tmp_path, f"key: {written}")["key"]
    assert found == value and isinstance(found, type(value))
    assert type(as_plain(found)) is type(value)


@pytest.mark.parametrize("written", ["007", "010", "2024", "1.10", "1e3", "0x1F", "+5", "0o17", "off", "2024-01-15"])
def test_a_name_is_taken_as_it_was_written(tmp_path, written):
    assert as_text(_read(tmp_path, f"key: {written}")["key"]) == written


def test_keys_are_names(tmp_path):
    assert _read(tmp_path, "on: 1\n007: 2\nnull: 3\n2024-01-15: 4") == {"on": 1, "007": 2, "null": 3, "2024-01-15": 4}


def test_what_is_merged_counts_less_than_what_is_written(tmp_path):
    content = "a: &a {x: 1, y: 2}\nb: &b {x: 5, z: 6}\nc:\n  <<: [*a, *b]\n  y: 3\nd: *a\n'<<': 7"
    found = _read(tmp_path, content)
    assert found["c"] == {"x": 1, "y": 3, "z": 6} and found["d"] == {"x": 1, "y": 2} and found["<<"] == 7


LAUGHS = "\n".join(
    f"{chr(97 + i)}: &{chr(97 + i)} [{', '.join([f'*{chr(96 + i)}'] * 9) if i else 'x'}]" for i in range(9)
)
MERGED = "\n".join(
    f"{chr(97 + i)}: &{chr(97 + i)} {{{'<<: [' + ', '.join([f'*{chr(96 + i)}'] * 9) + ']' if i else 'x: 1'}}}"
    for i in range(9)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "a.yaml, line 4: the key 'c' is given twice, first in line 3"),
        ("a: 1\n'a': 2", "a.yaml, line 2: the key 'a' is given twice, first in line 1"),
        ("a: [1\nb: 2", "a.yaml is not valid YAML: line 2: "),
        ("a: b: c", "a.yaml is not valid YAML: line 1: mapping values are not allowed here"),
        ("a: 1\n\tb: 1", "a.yaml is not valid YAML: line 2: "),
        ("a: 1\n---\nb: 2", "line 2: expected a single document"),
        ("a: *b", "line 1: found undefined alias 'b'"),
        ("a: !!python/object:os.system x", "line 1: the tag !!python/object:os.system has no meaning here"),
        ("a: 1\nb: !!binary eA==", "line 2: the tag !!binary has no meaning here"),
        ("a: !!int x", "line 1: 'x' is no int"),
        ("? [a]\n: 1", "line 1: a key must be a name"),
        ("<<: 3", "line 1: << takes a mapping"),
        ('a: "\\U00110000"', "not valid YAML: line 1: it holds an escape that is no character"),
        ('a: 1\nb: "\\0"', "line 2: it holds a character that no name and no text can have"),
        ('a: "\\ud800"', "line 1: it holds a character that no name and no text can have"),
        ("a: 1\nb: \x01", r"line 2: the character U\+0001 is not allowed"),
        (b"a: 1\nb: \xff", "line 2: it is not text in UTF-8"),
        ("[" * 5000, "line 1: it is nested more than 50 levels deep"),
        ("\n".join(" " * depth + "a:" for depth in range(5000)), "line 50: it is nested more than 50 levels deep"),
        ("a: &a [*a]", "line 1: it is nested more than 50 levels deep, or holds itself"),
        ("a: &a {<<: *a}", "line 1: it is nested more than 50 levels deep, or holds itself"),
        (LAUGHS, "its aliases stand for more than 100,000 values"),
        (MERGED, "its aliases stand for more than 100,000 values"),
    ],
    ids=lambda content: content[:20],
)
def test_what_is_wrong_is_one_sentence_with_the_line(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as found:
        _read(tmp_path, content)
    assert "\n" not in str(found.value)


def test_files_of_windows_are_read(tmp_path):
    assert _read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}
    assert _read(tmp_path, "a: é".encode("utf-16")) == {"a": "é"}


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


def _is_plain(value):
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(member) for key, member in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return type(value) in (str, int, float, bool, type(None)) and not (isinstance(value, float) and math.isnan(value))


PIECES = [
    "a",
    "b",
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!x ",
    "'",
    '"',
    "\\",
]
PIECES += [
    "007",
    "~",
    ".inf",
    "1e3",
    "2024-01-15",
    "# ",
    "? ",
    "| ",
    "> ",
    "%YAML ",
    "---",
    "...",
    "\t",
    "@",
    "`",
    "\0",
    "\ufeff",
]


@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join).map(str.encode), st.binary(max_size=60)))
@settings(deadline=None, max_examples=300)
def test_any_file_is_plain_data_or_one_sentence(content):
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _read(folder, content)
        except InputError as error:
            assert "a.yaml" in str(error) and "\n" not in str(error)
        else:
            assert _is_plain(as_plain(found))

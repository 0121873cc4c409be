"""What is kept of the outputs of a cell."""

import pytest

from training_code.notebooks import outputs
from training_code.notebooks.outputs import Printed, shortened


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(outputs, "PART", 10)


def _print(*texts):
    kept = []
    printed = Printed()
    for text in texts:
        printed.add(kept, "stdout", text)
    return "".join(output.text for output in kept)


def test_little_is_kept_as_it_is():
    assert _print("ab", "", "cd\n") == "abcd\n"
    assert _print("0123456789", "0123456789") == "01234567890123456789"
    assert _print("0123456789012", "3456789") == "01234567890123456789"


def test_of_much_the_middle_is_left_out():
    sentence = "\n[%d bytes that the cell printed here are left out]\n"
    expected = "aaaaaaaaaa" + sentence % 80 + "bbbbbbbbbb"
    assert _print("a" * 50 + "b" * 50) == expected
    assert _print(*["a"] * 50, *["b"] * 50) == expected
    assert _print("a" * 45, "a" * 5 + "b" * 5, "b" * 45) == expected


def test_characters_of_several_bytes_stay_whole():
    kept = _print("\u00e9" * 1000, "\u20ac" * 1000)
    first, _, last = kept.strip("\n").split("\n")
    assert first == "\u00e9" * 5 and set(last) == {"\u20ac"} and 10 <= len(last.encode()) <= 12


def test_outputs_stay_where_they_are():
    kept = []
    printed = Printed()
    for text in ("a" * 30, "b" * 30):
        printed.add(kept, "stdout", text)
    kept.append({"a picture": 1})
    printed.add(kept, "stderr", "c" * 30)
    assert len(kept) == 4 and kept[-1] == {"a picture": 1} and kept[2].text == "c" * 10


def test_a_long_text_is_shortened():
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 50 + "b" * 50, 10) == "aaaaa\n[90 of 100 bytes are left out]\nbbbbb"

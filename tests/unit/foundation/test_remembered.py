"""What was found before is not found again, unless what it depends on has changed."""

import pytest

from training_code.foundation import paths
from training_code.foundation.remembered import remembered, source_of


@pytest.fixture
def find(tmp_path, monkeypatch):
    """Return a function that asks with a state for a finding that is another number each time, and the cache."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    numbers = iter(range(10))

    def ask(state, key="a"):
        return remembered("numbers", key, state, lambda: {"number": next(numbers)})["number"]

    return ask, tmp_path


def test_a_finding_is_kept_as_long_as_its_state_stays(find):
    ask, _ = find
    assert [ask([1, "x"]), ask([1, "x"]), ask([2, "x"]), ask([2, "x"]), ask([1, "x"])] == [0, 0, 1, 1, 2]
    assert ask([1, "x"], key="b") == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"state": [1]}', "\xff"])
def test_a_damaged_finding_is_computed_again(find, content):
    ask, folder = find
    assert ask([1]) == 0
    (file,) = folder.glob("numbers/*.json")
    file.write_bytes(content.encode("latin-1"))
    assert [ask([1]), ask([1])] == [1, 1]


def test_an_error_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            remembered("numbers", "a", [1], lambda: 1 // 0)
    assert remembered("numbers", "a", [1], lambda: 5) == 5


def test_without_a_writable_cache_a_finding_is_computed_each_time(find, monkeypatch):
    ask, folder = find
    (folder / "file").touch()
    monkeypatch.setattr(paths, "CACHE", folder / "file")
    assert [ask([1]), ask([1])] == [0, 1]


def test_the_state_of_code_changes_with_it(tmp_path):
    (tmp_path / "a.py").write_text("a = 1")
    before = source_of(tmp_path / "a.py")
    (tmp_path / "a.py").write_text("a = 12")
    assert source_of(tmp_path / "a.py") != before

"""What a station is told about its parts is checked before it waits for photographs."""

from pathlib import PurePosixPath

import pytest

from inference_code.station.grouping import ByFolder, ByPattern, Expected
from training_code.foundation.errors import InputError


@pytest.mark.parametrize("name", ["a.png", "_1.png", "a_.png", "a_b.png"])
def test_a_name_that_does_not_match_as_a_whole_tells_nothing(name):
    assert ByPattern(r"(?P<part>.+)_(?P<view>\d+)").shown(PurePosixPath(name)) is None


@pytest.mark.parametrize("name", ["a.png", "a/b/c.png"])
def test_only_files_in_a_folder_of_the_inbox_show_a_part(name):
    assert ByFolder().shown(PurePosixPath(name)) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "is no regular expression"), ("(?P<part>.+)", "has no group 'view'"), (".+", "has no group 'part'")],
)
def test_a_pattern_without_its_groups_is_told(pattern, words):
    with pytest.raises(InputError, match=words):
        ByPattern(pattern)


@pytest.mark.parametrize(
    ("given", "named", "words"),
    [
        ("", (), "--views is missing; valid: how many views a part has"),
        ("-1", (), "neither a number nor different names"),
        ("1e3", (), "neither a number nor different names"),
        ("0", (), "--views 0 is out of range"),
        ("a,a", (), "different names"),
        ("a,", (), "different names"),
        ("a,b", ("c",), "--view c is none of the views; valid: a, b"),
        ("1", ("a", "b"), "fewer than the views with runs of their own: a, b"),
    ],
)
def test_views_that_cannot_be_are_told(given, named, words):
    with pytest.raises(InputError, match=words):
        Expected.of(given, named)


def test_views_with_runs_of_their_own_are_those_of_a_part_unless_others_are_given():
    assert Expected.of("", ("top", "side")) == Expected(("top", "side"), 2)
    assert Expected.of("top,side", ("side",)).missing(["top"]) == ("side",)
    assert Expected.of("3").missing(["1"]) == ("2 of 3 views",)

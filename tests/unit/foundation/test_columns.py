"""Columns are as narrow as a terminal asks for, and say all that stands in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_code.foundation.columns import columns

ROWS = [("model", "configuration", "n"), ("Combined", "mean of three", "1"), ("Dfm", "", "20")]


def test_columns_begin_below_each_other_and_lines_end_where_their_text_ends():
    assert [*columns(ROWS)] == [
        "model     configuration  n",
        "Combined  mean of three  1",
        "Dfm                      20",
    ]


@pytest.mark.parametrize("width", [27, 200])
def test_what_fits_is_not_parted(width):
    assert max(map(len, columns(ROWS))) == 27
    assert [*columns(ROWS, width)] == [*columns(ROWS)]


def test_the_widest_column_goes_on_in_the_next_line_and_no_word_is_parted():
    rows = [("model", "settings"), ("Combined", "mean of three others"), ("Dfm", "x")]
    assert [*columns(rows, 18)] == [
        "model     settings",
        "Combined  mean of",
        "          three",
        "          others",
        "Dfm       x",
    ]
    assert [*columns(rows, 1)] == [*columns(rows, 18)], "no narrower than the longest words"
    assert [*columns([("0.9\xa0±\xa00.1 of 3",)], 1)] == ["0.9\xa0±\xa00.1", "of 3"]


@given(st.lists(st.tuples(*[st.text(st.sampled_from("ab -_"), max_size=12)] * 3), min_size=1), st.integers(1, 60))
def test_every_word_is_there_in_its_column_and_lines_are_not_longer_than_they_must_be(rows, width):
    lines = [*columns(rows, width)]
    for number in range(3):
        words = [word for row in rows for word in row[number].split()]
        assert all(any(word in line for line in lines) for word in words)
    assert len(lines) >= len(rows)
    longest = [max(1, *(len(word) for row in rows for word in row[number].split(" "))) for number in range(3)]
    assert max(map(len, lines)) <= max(width, sum(longest) + 4)

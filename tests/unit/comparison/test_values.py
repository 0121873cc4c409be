import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_code.comparison.naming import tell_apart
from training_code.comparison.values import is_missing, is_number, order_key, plain, rank_values, write_value

# By name: pandas is not imported to collect the tests.
MISSING = {
    "None": lambda: None,
    "nan": lambda: math.nan,
    "nan of numpy": lambda: np.float64("nan"),
    "NA": lambda: pd.NA,
    "NaT": lambda: pd.NaT,
}
ABSENT = st.sampled_from(sorted(MISSING)).map(lambda name: MISSING[name]())
SCALARS = st.one_of(ABSENT, st.booleans(), st.integers(), st.floats(), st.text())
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))


@pytest.mark.parametrize("name", MISSING)
def test_every_way_of_being_missing_is_one_value(name):
    value = MISSING[name]()
    assert is_missing(value) and not is_number(value) and plain(value) is None
    assert order_key(value) == order_key(None) and write_value(value) == "none" and write_value(value, "") == ""


@pytest.mark.parametrize("value", [0, "", False, [], [None], "nan", "none", np.bool_(False)], ids=repr)
def test_what_is_there_is_not_missing(value):
    assert not is_missing(value) and order_key(value) != order_key(None)


def test_values_of_all_types_have_one_order():
    ordered = [None, False, True, -1, 0.5, 1, math.inf, "", "1", "none", [], [1], ["a"], ["a", "b"]]
    assert rank_values(reversed(ordered)).distinct == ordered


def test_numbers_are_equal_by_value_and_no_boolean_is_a_number():
    ranked = rank_values([1.0, np.int64(1), True, np.bool_(True), "1", 1])
    assert ranked.distinct == [True, 1.0, "1"] and ranked.places == [1, 1, 0, 0, 2, 1]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2.0, "2"),
        (0.125, "0.125"),
        (1e-7, "1e-07"),
        (np.float64(0.1), "0.1"),
        (True, "True"),
        (["a", 1.0, None], "a, 1, none"),
    ],
    ids=repr,
)
def test_values_are_written_with_all_their_digits(value, written):
    assert write_value(value) == written


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(VALUES, max_size=8))
def test_any_values_are_ranked_as_their_keys_and_each_is_found_again(values):
    ranked = rank_values(values)
    assert [order_key(ranked.distinct[place]) for place in ranked.places] == [order_key(value) for value in values]
    keys = [order_key(value) for value in ranked.distinct]
    assert all(first < second for first, second in zip(keys, keys[1:], strict=False))
    assert all(isinstance(write_value(value), str) for value in values)


def test_names_tell_a_setting_that_is_missing_from_one_that_is_there():
    settings = [{}, {"backbone": "resnet18"}, {"backbone": True}]
    assert tell_apart(settings, ["x"] * 3) == ["x, backbone=none", "x, backbone=resnet18", "x, backbone=True"]

"""Numbers have as many digits as their uncertainty leaves, as a person would write them."""

import numpy as np
import pytest

from training_code.comparison.uncertainty import with_deviation, with_interval


@pytest.mark.parametrize(
    ("value", "deviation", "written"),
    [
        (0.91372, 0.01634, "0.914 ± 0.016"),
        (0.8, np.sqrt(0.02), "0.80 ± 0.14"),
        (0.98761, 0.0046, "0.9876 ± 0.0046"),
        (0.5, 0.0996, "0.50 ± 0.10"),  # two digits count, and rounding may bring one more
        (12.345, 4.56, "12.3 ± 4.6"),
        (1234.5, 120.0, "1234 ± 120"),
        (0.98761, 0.000012, "0.9876 ± 0.0000"),  # not more digits than anybody reads
        (0.1, 0.0, "0.100 ± 0.000"),
        (0.1, 1e-17, "0.100 ± 0.000"),
        (0.91372, None, "0.914"),
        (0.91372, np.nan, "0.914"),
        (np.nan, 0.1, ""),
    ],
)
def test_two_digits_of_the_deviation_count(value, deviation, written):
    assert with_deviation(value, deviation) == written


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ((0.91372, 0.87108, 0.94249), "0.914 (0.871 to 0.942)"),
        ((63.04, 51.2, 73.3), "63 (51 to 73)"),
        ((0.025, 0.008, 0.057), "0.025 (0.008 to 0.057)"),
        ((1.0, 1.0, 1.0), "1.000 (1.000 to 1.000)"),
        ((0.5, None, 0.9), "0.500"),
        ((0.5, 0.1, np.nan), "0.500"),
        ((np.nan, 0.1, 0.2), ""),
    ],
)
def test_half_of_an_interval_counts_as_a_deviation_does(numbers, written):
    assert with_interval(*numbers) == written

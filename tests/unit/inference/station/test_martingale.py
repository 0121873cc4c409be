"""Evidence of change: rarely false over any number of photographs, and soon there when something changes."""

import math

import numpy as np
import pytest

from inference_code.station.martingale import CLASSES, Capital, Ranks, on_p_value, on_share


def _highest(factors, runs, steps):
    """Return the highest capital of each run."""
    capital = Capital(0, np.zeros((runs, factors(0).shape[-1])))
    highest = np.ones(runs)
    for step in range(steps):
        highest = np.maximum(highest, capital.bet(factors(step)))
    return highest


def _ranked(reference, values, generator):
    ranks = Ranks.of([(value, generator.random()) for value in reference])
    return np.array([ranks.p_value(value, (generator.random(), generator.random())) for value in values])


def _from_uniform(values):
    """Return the largest distance between values and a uniform distribution, times the root of their number."""
    places = np.arange(1, len(values) + 1) / len(values)
    return math.sqrt(len(values)) * np.abs(np.sort(values) - places).max()


@pytest.mark.parametrize("bets", ["p-values", "shares"])
def test_a_capital_reaches_a_level_no_more_often_than_ville_allows(bets):
    generator, runs = np.random.default_rng(0), 1000
    if bets == "p-values":
        highest = _highest(lambda _: on_p_value(generator.random(runs)), runs, 1500)
    else:
        highest = _highest(lambda _: on_share(generator.random(runs) < 0.1, 0.1), runs, 1500)
    for level in (2, 10, 100):
        allowed = 1 / level + 3 * math.sqrt(1 / level / runs)
        assert (highest >= level).mean() <= allowed, level
    assert (highest >= 2).mean() > 0.1, "it bets at all"


def test_each_bet_on_a_p_value_is_fair():
    roots = (np.arange(200_000) + 0.5) / 200_000  # of p-values, close together where the powers are steep
    for p_values, sides in ((roots**5, slice(0, 3)), (1 - roots**5, slice(3, 6))):
        integrals = (on_p_value(p_values)[:, sides] * 5 * roots[:, None] ** 4).mean(axis=0)
        np.testing.assert_allclose(integrals, 1, atol=0.02)  # the last bit is cut off
    rates = on_share(np.array([True, False]), 0.1)
    np.testing.assert_allclose(0.1 * rates[0] + 0.9 * rates[1], 1)


@pytest.mark.parametrize("before", [0, 100_000])
def test_a_change_is_seen_soon_however_many_photographs_came_before_it(before):
    capital = Capital(before, np.zeros(6))
    needed = next(number for number in range(1, 100) if capital.bet(on_p_value(0.005)) >= 500)
    assert needed <= 10


def test_capital_that_was_lost_to_many_good_photographs_leaves_cash_for_bets_on_a_change():
    generator = np.random.default_rng(1)
    capital = Capital(0, np.zeros(6))
    for p_value in generator.random(10_000):
        capital.bet(on_p_value(p_value))
    assert next(number for number in range(1, 100) if capital.bet(on_p_value(0.01)) >= 500) <= 12


def test_p_values_of_few_reference_values_are_uniform_and_independent_over_thousands_of_values():
    generator = np.random.default_rng(2)
    found = _ranked(generator.normal(size=30), generator.normal(size=4000), generator)
    assert _from_uniform(found) < 1.63, "Kolmogorov's limit for 1 %"
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 3 / math.sqrt(4000)
    # Ranked against the 30 alone they are not: what is odd about these shows in every one of them.
    reference = np.sort(generator.normal(size=30))
    fixed = 1 - np.searchsorted(reference, generator.normal(size=4000)) / 31
    assert _from_uniform(fixed) > 1.63


@pytest.mark.parametrize("reference", [30, 250, 1000])
def test_the_next_value_lies_in_each_class_as_often_as_its_spacings_say(reference):
    generator = np.random.default_rng(3)
    highest = []
    for _ in range(3000):
        ranks = Ranks.of([(value, 0.5) for value in generator.random(reference)])
        assert len(ranks.counts) == min(reference + 1, CLASSES) == len(ranks.limits) + 1
        highest.append(generator.random() > ranks.limits[-1][0])
    share = ranks.counts[-1] / (reference + 1)
    assert abs(np.mean(highest) - share) < 4 * math.sqrt(share / 3000)


def test_equal_values_are_told_apart_by_lot_so_that_their_p_values_are_uniform():
    generator = np.random.default_rng(4)
    found = _ranked(generator.integers(0, 2, 100), generator.integers(0, 2, 3000), generator)
    assert _from_uniform(found) < 1.63


def test_ranks_that_are_stored_and_read_go_on_as_if_they_had_not_been():
    generator = np.random.default_rng(5)
    reference, values = [(each, 0.5) for each in generator.random(250)], generator.random((200, 3)).tolist()
    whole, first = Ranks.of(reference), Ranks.of(reference)
    expected = [whole.p_value(value, (a, b)) for value, a, b in values]
    found = [first.p_value(value, (a, b)) for value, a, b in values[:100]]
    second = Ranks(first.limits, first.counts)
    assert found + [second.p_value(value, (a, b)) for value, a, b in values[100:]] == expected

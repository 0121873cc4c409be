"""Test martingales: how strong the evidence is that what comes now is not like what came before.

A bet on each new photograph multiplies a capital that begins with 1. While photographs are exchangeable, in whatever
order they come, no bets make a capital grow on average, and it ever reaches c with a probability of at most 1/c
(Ville, "Étude critique de la notion de collectif", 1939). Bets on conformal p-values are those of Vovk, Nouretdinov and
Gammerman, "Testing Exchangeability On-Line", ICML 2003, and Vovk, Gammerman and Shafer, "Algorithmic Learning in a
Random World", 2005, section 7.1.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
#: Into so many classes values are sorted at most, however many come.
CLASSES = 100
# The powers of bets that p-values are small, or large; and what lies between certainty and the share of bad ones.
_POWERS, _SHARES = (0.2, 0.5), (0.1, 0.3, 0.6, 0.9)
# P-values nearer to 0 or 1 are taken for these, which can only lose a bet.
_NEAREST = 1e-9
# After so many photographs a good part of the capital lies in bets.
_PACE = 10


class Ranks:
    """P-values of values that come one after the other: each is ranked among a reference and all that came before it.

    They are independent and uniform where reference and values are exchangeable, for any number of values. (Against the
    reference alone they would not be independent: what is odd about its few values would show again and again.) Of the
    reference the values themselves are kept as limits of classes, and of all others how many are in each class. The
    part of new values in a class is unknown; of all references that there could be, the part of a class between two
    neighbors has the distribution of a spacing of uniform numbers, a Dirichlet one with 1 for each spacing. The next
    value after n others thus lies in a class of s spacings with c of the n in it with a probability of exactly
    (s + c) / (m + 1 + n) for m values of reference. Its place in the class is drawn.

    Parameters
    ----------
    limits
        Between the classes, in their order: values, each with a number from 0 to 1 that tells equal ones apart.
    counts
        Of each class, spacings and values.

    Examples
    --------
    Above all of 3 values is one of 4 with a probability of 1/4, and after it the next one with 2/5.

    >>> ranks = Ranks.of([(1.0, 0.5), (2.0, 0.5), (3.0, 0.5)])
    >>> ranks.p_value(9.0, (0.5, 1.0)), ranks.p_value(8.0, (0.5, 1.0))
    (0.25, 0.4)
    """

    def __init__(self, limits: Sequence[tuple[float, float]], counts: Sequence[int]) -> None:
        self.limits, self.counts = [*limits], [*counts]

    @classmethod
    def of(cls, reference: Sequence[tuple[float, float]]) -> "Ranks":
        """Return the ranks for a reference: values, each with a number drawn from 0 to 1."""
        spacings = len(reference) + 1
        classes = min(CLASSES, spacings)
        ends = [round(number * spacings / classes) for number in range(classes + 1)]
        ordered = sorted(reference)
        return cls(
            [ordered[end - 1] for end in ends[1:-1]], [end - begin for begin, end in zip(ends, ends[1:], strict=False)]
        )

    def p_value(self, value: float, draws: tuple[float, float]) -> float:
        """Return the p-value of a new value, small for a high one, and count it.

        Parameters
        ----------
        draws
            Two numbers from 0 to 1, drawn for this value alone.
        """
        place = bisect_right(self.limits, (value, draws[0]))
        above = sum(self.counts[place + 1 :])
        p_value = (above + draws[1] * self.counts[place]) / sum(self.counts)
        self.counts[place] += 1
        return p_value


class Capital:
    """The capital of a test martingale, in cash and in bets.

    A change may come at any time, and most bets lose until then. Thus a part of the cash is put into bets with each
    photograph, ever less, so that there is cash for a change after any number of photographs: after n of them
    1 / (1 + log(1 + n/10)) is left. That is the mixture of the martingales that begin at each time, with weights that
    sum to 1. (Sums without such weights, as of Shiryaev and Roberts, would have no such bound as Ville's.)

    Parameters
    ----------
    steps
        How many photographs were bet on.
    bets
        Shape (..., bets): what lies in each. Begins with zeros.
    """

    def __init__(self, steps: int, bets: Numbers) -> None:
        self.steps, self.bets = steps, bets

    def bet(self, factors: Numbers) -> Numbers:
        """Return the capital after a photograph, of shape (...): each bet is multiplied by its factor."""
        moved = _cash(self.steps) - _cash(self.steps + 1)
        self.steps += 1
        self.bets = (self.bets + moved / self.bets.shape[-1]) * factors
        return self.total

    @property
    def total(self) -> Numbers:
        """What is in cash and bets, of shape (...)."""
        return self.bets.sum(axis=-1) + _cash(self.steps)


def _cash(steps: int) -> float:
    return 1 / (1 + math.log1p(steps / _PACE))


def on_p_value(p_value: float | Numbers) -> Numbers:
    """Return the factors of bets on a p-value, of shape (..., 6): that it is small, or that it is large.

    Each has an integral of 1 over p-values from 0 to 1: the powers k p^(k-1) of Vovk, Nouretdinov and Gammerman, and
    the slopes of the jumper of Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, "Retrain or not retrain:
    Conformal test martingales for change-point detection", COPA 2021, for small changes.
    """
    low = np.clip(p_value, _NEAREST, 1 - _NEAREST)
    found = []
    for each in (low, 1 - low):
        found += [power * each ** (power - 1) for power in _POWERS]
        found.append(1.5 - each)
    return np.stack(found, axis=-1)


def on_share(abnormal: bool | NDArray[np.bool_], limit: float) -> Numbers:
    """Return the factors of bets that more than the part ``limit`` of photographs is abnormal, of shape (..., 4).

    Likelihood ratios of Bernoulli variables: none grows on average while each photograph is abnormal with a
    probability of at most ``limit``, whatever was before it.
    """
    rates = limit + (1 - limit) * np.array(_SHARES)
    return np.where(np.asarray(abnormal)[..., None], rates / limit, (1 - rates) / (1 - limit))

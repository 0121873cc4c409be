"""From what is found in the views of a part to the verdict about it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training_code.data.corrected import BAD, GOOD
from training_code.foundation.errors import InputError
from training_code.records.scores import CalibrationScores

INCOMPLETE, UNREADABLE = "incomplete", "unreadable"
VERDICTS = (GOOD, BAD, INCOMPLETE, UNREADABLE)


@dataclass(frozen=True)
class Seen:
    """What is found in one view of a part.

    Attributes
    ----------
    view
        Its name.
    abnormal
        Whether its score reaches the threshold; None where the photograph could not be read.
    score
        Where it lies between 0 and 1 with 0.5 at the threshold, as far as the run has such a scale.
    p_value
        `p_value` of its score; None where it is not known.
    """

    view: str
    abnormal: bool | None
    score: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A verdict about a part.

    Attributes
    ----------
    verdict
        One of `VERDICTS`. A part that is not seen as a whole is never good.
    reason
        Why, in a few words.
    score
        The highest score of its views; None where no view has one.
    p_value
        That of the part, where the rule goes by it.
    """

    verdict: str
    reason: str
    score: float | None
    p_value: float | None = None


@dataclass(frozen=True)
class Rule:
    """A rule for verdicts.

    Attributes
    ----------
    name
        One of `RULES`.
    alpha
        The part of good parts that it may call bad, for rules that go by p-values.

    Examples
    --------
    >>> Rule("any").judge([Seen("top", False, 0.2), Seen("side", True, 0.7)], expected=2)
    Verdict(verdict='bad', reason='side', score=0.7, p_value=None)
    """

    name: str
    alpha: float = 0.05

    @property
    def by_p_values(self) -> bool:
        """Whether it goes by p-values."""
        return self.name in _COMBINED

    def judge(self, seen: Sequence[Seen], expected: int, missing: Sequence[str] = ()) -> Verdict:
        """Return the verdict about a part.

        Parameters
        ----------
        seen
            What is found in its views.
        expected
            How many views it has.
        missing
            Views that never came, in words.
        """
        scores = [one.score for one in seen if one.score is not None]
        score = max(scores, default=None)
        unreadable = [one.view for one in seen if one.abnormal is None]
        bad = [one.view for one in seen if one.abnormal]
        p_value = None
        if self.by_p_values:
            p_value = _COMBINED[self.name]([one.p_value for one in seen if one.p_value is not None], expected)
            if p_value <= self.alpha:
                return Verdict(BAD, f"p-value {p_value:.2g} of all views", score, p_value)
        elif self.name == "all":
            if len(bad) == expected:
                return Verdict(BAD, ", ".join(bad), score)
            if any(one.abnormal is False for one in seen):
                unreadable, missing = [], ()  # whatever the others would have shown
        elif bad:
            return Verdict(BAD, ", ".join(bad), score)
        if unreadable:
            return Verdict(UNREADABLE, f"cannot be read: {', '.join(unreadable)}", score, p_value)
        if missing:
            return Verdict(INCOMPLETE, f"did not come: {', '.join(missing)}", score, p_value)
        return Verdict(GOOD, "", score, p_value)


def bonferroni(p_values: Sequence[float], expected: int) -> float:
    """Return a p-value of all views together that holds however they depend on each other.

    Parameters
    ----------
    p_values
        Of the views that were seen; the others count as 1.
    expected
        How many views there are.
    """
    return min(1.0, expected * min(p_values, default=1.0))


def fisher(p_values: Sequence[float], expected: int) -> float:
    """Return a p-value of all views together that holds where they are independent, and sees small signs in several.

    Fisher, "Statistical Methods for Research Workers", 1932: twice the negative sum of logarithms has a chi-squared
    distribution with twice as many degrees of freedom as views, whose tail is a finite sum. Parameters are as in
    `bonferroni`.

    Examples
    --------
    >>> round(fisher([0.05, 0.05], 2), 4)
    0.0175
    """
    half = -sum(math.log(value) for value in p_values)
    return min(1.0, math.exp(-half) * sum(half**power / math.factorial(power) for power in range(expected)))


_COMBINED: dict[str, Callable[[Sequence[float], int], float]] = {"bonferroni": bonferroni, "fisher": fisher}
#: ``any``: one bad view; ``all``: every view is bad; the others: the p-value of all views together is small.
RULES = ("any", "all", *_COMBINED)


def check_rule(name: str, alpha: float) -> Rule:
    """Return a rule; raise an `InputError` for an unknown one and a level that is out of range."""
    if name not in RULES:
        raise InputError(f"rule {name!r} is unknown; valid: {', '.join(RULES)}")
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha} is out of range; valid: above 0 and below 1")
    return Rule(name, alpha)


def p_value(score: float, calibration: CalibrationScores) -> float:
    """Return the conformal p-value of a score: how rare as high a one is among good parts that were not trained on.

    Of each group of images the highest score counts. Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
    World", 2005: among exchangeable good parts at most a part p has a p-value of p or less.

    Examples
    --------
    >>> p_value(0.9, CalibrationScores((0, 1, 2), np.array([0.1, 0.5, 0.95]), np.zeros(3), np.zeros(3)))
    0.5
    """
    highest: dict[int, float] = {}
    for group, value in zip(calibration.groups, calibration.scores.tolist(), strict=True):
        highest[group] = max(value, highest.get(group, -math.inf))
    values = np.array(list(highest.values()))
    return float((1 + np.count_nonzero(values >= score)) / (1 + len(values)))

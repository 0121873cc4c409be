"""What is watched at a station, photograph by photograph: the evidence that something has changed since training.

Of each run five things are watched. The scores of photographs that are judged normal, how bright and sharp these are,
and the means of their maps are ranked among those of the good images that the run was calibrated with, as far as these
are judged normal, too: parts with defects, of which there are none in calibration, are no drift. The share of abnormal
photographs is watched by itself: bets are that it is above what is expected.

All watches of a station together raise a false alarm with a probability of at most `ALPHA` ever: each gets an equal
part of it, and the probabilities add up, however the watches depend on each other. What is false differs: for ranked
values an alarm while photographs come in random order from what the reference is of; for the share, which has no
reference, one while each photograph is abnormal with a probability of at most what is expected, whatever came before.
Bunches of defects break that, and so do thresholds from few images, see `Reference`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference_code.ranges import FIRST, STATION, TRAINING
from inference_code.station.martingale import Capital, Numbers, Ranks, on_p_value, on_share
from training_code.evaluation.calibration import just_above
from training_code.foundation.errors import InputError
from training_code.foundation.files import derived_seed, digest
from training_code.records.appearance import LOOKS, read_appearance
from training_code.records.scores import read_calibration

#: The probability of a false alarm of all watches together.
ALPHA = 0.01
SCORE, SHARE = "score", "share"
QUANTITIES = (SCORE, *LOOKS, SHARE)
#: With fewer good images than these, the first photographs of the station are the reference.
LEAST = 20
# Of a reference these quantiles are kept to be shown: every twentieth.
_PARTS = 20
_BITS = 2**32
# The probability that more good photographs reach a threshold than is said.
_DOUBT = 0.01


@dataclass(frozen=True)
class Reference:
    """What is known of the good images that a run was calibrated with.

    Attributes
    ----------
    values
        Of those that are judged normal, by quantity; quantities that the run has not kept are not there.
    of
        Tells one reference from another.
    may_reach
        With a certainty of 99 % no larger part of good photographs reaches the threshold; None where it is unknown.
        Thresholds that rest on no order of these scores, as ``mean_sd``, ``synthetic`` and ``oracle`` do not, are taken
        for such that do.
    """

    values: Mapping[str, list[float]] = field(default_factory=dict)
    of: str = ""
    may_reach: float | None = None

    @classmethod
    def read(cls, folder: Path, threshold: float | None, only_looks: bool = False) -> "Reference":
        """Return what the run in a folder has kept.

        Of the photographs of one part one is drawn, as at the station. The score that the threshold was put on is left
        out: given the threshold, it alone is no random one.

        Parameters
        ----------
        threshold
            The score from which on an image is abnormal.
        only_looks
            Whether to leave out what the detector says. Where calibration left images out one after the other, each was
            judged by a detector of fewer images than the one that judges photographs.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        try:
            calibration = read_calibration(folder)
            looks = read_appearance(folder)
        except FileNotFoundError:
            return cls(of=digest([threshold]))
        except ValueError as error:
            raise InputError(str(error)) from error
        drawn: dict[int, tuple[int, int]] = {}
        for place, (name, group) in enumerate(zip(calibration.paths, calibration.groups, strict=True)):
            drawn[group] = min(drawn.get(group, (_BITS, 0)), (derived_seed(name), place))
        places = sorted(place for _, place in drawn.values())
        scores = calibration.scores.tolist()
        normal = [place for place in places if threshold is None or just_above(scores[place]) < threshold]
        values = {SCORE: [scores[place] for place in normal]}
        seen = [looks[name] for name in (calibration.paths[place] for place in normal) if name in looks]
        values |= {look: [getattr(each, look) for each in seen] for look in LOOKS}
        if only_looks:
            values = {name: found for name, found in values.items() if name not in (SCORE, "map_mean")}
        reach = may_reach(len(places) - len(normal), len(places)) if places else None
        return cls(values, digest([threshold, values]), reach)


def may_reach(above: int, count: int) -> float:
    """Return what part of new images reaches a threshold at most, with a certainty of 99 %.

    The part above the kth highest of K scores has the distribution Beta(k, K + 1 - k), whatever that of the scores is;
    this is its 99 % quantile.

    Parameters
    ----------
    above
        How many of the scores the threshold lies below, or just above; with none it is as with one, or less.
    count
        K.

    Examples
    --------
    None of 20 uniform numbers lies in the highest part x with a probability of 1 - x to the 20th.

    >>> round(may_reach(1, 20), 6) == round(1 - 0.01 ** (1 / 20), 6)
    True
    """
    k, low, high = max(1, above), 0.0, 1.0
    weights = [math.lgamma(count + 1) - math.lgamma(n + 1) - math.lgamma(count - n + 1) for n in range(k)]
    for _ in range(50):
        part = (low + high) / 2
        less, more = math.log(part), math.log1p(-part)
        # A larger one: fewer than k of K binomial trials succeed.
        larger = sum(math.exp(weight + n * less + (count - n) * more) for n, weight in enumerate(weights))
        low, high = (part, high) if larger > _DOUBT else (low, part)
    return high


@dataclass
class Watch:
    """The watch for one quantity of one run, as it is stored.

    Attributes
    ----------
    of
        What it was begun with; another one is begun with anything else.
    level
        The capital that is an alarm.
    against
        `training` or `station`.
    first
        Values of the first photographs, while they are awaited.
    limits, counts
        Of `Ranks`; the share has none.
    quantiles
        Of the reference, from the lowest value to the highest.
    steps, bets
        Of `Capital`.
    highest
        The highest capital so far.
    climb, since
        How much bets have gained since they last had lost all gains, as a logarithm, and the photograph with which that
        began: the time of the change (Page, "Continuous Inspection Schemes", Biometrika 1954).
    alarm, text
        The photograph with which an alarm came, and what is said; None and nothing without one.
    resets
        When, by whom and after which alarm it was begun anew.
    """

    of: str
    level: float
    against: str = TRAINING
    first: list[float] | None = None
    limits: list[tuple[float, float]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    quantiles: list[float] = field(default_factory=list)
    steps: int = 0
    bets: list[float] = field(default_factory=list)
    highest: float = 1.0
    climb: float = 0.0
    since: int | None = None
    alarm: int | None = None
    text: str = ""
    resets: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make what it is after it was stored, where there are no tuples."""
        self.limits = [(value, draw) for value, draw in self.limits]

    @classmethod
    def begin(cls, of: str, level: float, against: str, values: list[float] | None) -> "Watch":
        """Return a watch that has seen nothing; ``values`` are those of the reference, None for the share."""
        watch = cls(of, level, against)
        if values is None:
            return watch
        if against == STATION or len(values) < LEAST:
            watch.against, watch.first = STATION, []
        else:
            watch._rank(values)
        return watch

    @property
    def capital(self) -> float:
        """What is in cash and bets."""
        return float(self._capital().total)

    @property
    def evidence(self) -> float:
        """How unlikely it is that evidence as strong as it once was comes of chance: 1 in so many, for all watches."""
        return max(1.0, self.highest / (self.level * ALPHA))

    def take_value(self, value: float, photograph: int) -> bool:
        """Take the value of a photograph; return whether it raises an alarm."""
        if self.first is not None:
            self.first.append(value)
            if len(self.first) >= FIRST:
                values, self.first = self.first, None
                self._rank(values)
            return False
        ranks = Ranks(self.limits, self.counts)
        p_value = ranks.p_value(value, _draws(photograph, len(self.resets)))
        self.counts = ranks.counts
        return self._bet(on_p_value(p_value), photograph)

    def take_label(self, abnormal: bool, expected_bad: float, photograph: int) -> bool:
        """Take whether a photograph is abnormal; return whether that raises an alarm."""
        return self._bet(on_share(np.array(abnormal), expected_bad), photograph)

    def within(self, value: float) -> bool:
        """Return whether a value lies in the middle 90 % of the reference."""
        return self.quantiles[1] <= value <= self.quantiles[-2]

    def _bet(self, factors: Numbers, photograph: int) -> bool:
        capital = self._capital(len(factors))
        now = float(capital.bet(factors))
        self.steps, self.bets = capital.steps, capital.bets.tolist()
        self.highest = max(self.highest, now)
        gained = max(0.0, self.climb + float(np.log(factors.mean())))
        if not gained:
            self.since = None
        elif self.since is None:
            self.since = photograph
        self.climb = gained
        return now >= self.level

    def _capital(self, count: int = 1) -> Capital:
        return Capital(self.steps, np.array(self.bets or [0.0] * count))

    def _rank(self, values: list[float]) -> None:
        ranks = Ranks.of([(value, _draws("reference", place)[0]) for place, value in enumerate(values)])
        self.limits, self.counts = ranks.limits, ranks.counts
        self.quantiles = np.quantile(values, np.linspace(0, 1, _PARTS + 1)).tolist()


def take(
    watches: Mapping[str, Watch], values: Mapping[str, float], abnormal: bool, expected_bad: float, photograph: int
) -> list[str]:
    """Have the watches of a run take a photograph; return the quantities that raise an alarm.

    Parameters
    ----------
    watches
        By quantity.
    values
        Of the photograph, by quantity, as far as they are known.
    abnormal
        Whether it is judged so.
    expected_bad
        The part of photographs that may be.
    photograph
        Its number.
    """
    raised = []
    for quantity, watch in watches.items():
        if watch.alarm is not None:
            continue
        if quantity == SHARE:
            alarm = watch.take_label(abnormal, expected_bad, photograph)
        else:
            alarm = not abnormal and quantity in values and watch.take_value(values[quantity], photograph)
        if alarm:
            watch.alarm = photograph
            raised.append(quantity)
    return raised


def _draws(*of: int | str) -> tuple[float, float]:
    """Return two numbers between 0 and 1 that are the same each time; nothing else is drawn by them."""
    first, second = ((derived_seed(*of, number) + 0.5) / _BITS for number in range(2))
    return first, second

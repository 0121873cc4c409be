"""Drift: what a station's ledger keeps of its watches, and what is said and drawn when one of them raises an alarm.

Watches take a photograph of a part in the same change of the ledger in which the part is judged, so that each counts
once whenever a station is killed. An alarm stays until somebody has watching begin anew.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from inference_code.ranges import STATION, TRAINING
from inference_code.station.alarms import FOLDER, name_of, picture_of, rows_of_watches, stored
from inference_code.station.chart import Panel, chart
from inference_code.station.ledger import Ledger
from inference_code.station.schema import FOUND, Entry
from inference_code.station.watches import ALPHA, QUANTITIES, SCORE, SHARE, Reference, Watch, take
from training_code.foundation.files import derived_seed, digest, write_text

# Photographs that an alarm is told by, and pictures show.
_SHOWN = 50
_WORDS = {
    "brightness": ("photographs are", "brighter", "darker"),
    "sharpness": ("photographs are", "sharper", "less sharp"),
    "map_mean": ("anomaly maps are on average", "higher", "lower"),
    SCORE: ("scores of photographs that are judged normal are", "higher", "lower"),
}
_THAN = {TRAINING: "in training", STATION: "of the station's first photographs"}


class Drift:
    """The watches of a station.

    Parameters
    ----------
    ledger
        Of the station.
    references
        By the id of each run.
    expected_bad
        The part of photographs that may be abnormal without an alarm.
    against
        ``training`` or ``station``.
    """

    def __init__(
        self,
        ledger: Ledger,
        references: Mapping[str, Reference],
        expected_bad: float = 0.1,
        against: str = TRAINING,
    ) -> None:
        self._ledger, self._references = ledger, references
        self._expected_bad, self._against = expected_bad, against
        self._level = len(QUANTITIES) * len(references) / ALPHA

    def doubts(self) -> list[str]:
        """Return a sentence for each run of which good photographs alone may raise an alarm of the share."""
        return [
            f"of good photographs {run} may judge up to {reference.may_reach:.1%} abnormal, as far as its "
            f"calibration tells, and --expected-bad is {self._expected_bad:.1%}: that alone can raise an alarm; "
            "a larger one, or more good images in calibration, prevents it"
            for run, reference in self._references.items()
            if reference.may_reach is not None and reference.may_reach > self._expected_bad
        ]

    def take(self, parts: Sequence[Sequence[Entry]], at: float) -> list[str]:
        """Take the photographs of parts that were judged; return a sentence for each alarm.

        Called inside of `Ledger.changing`, together with the verdicts. Photographs of one part are alike; of those that
        one run has judged, one is drawn.

        Parameters
        ----------
        parts
            The photographs of each.
        at
            Seconds since the epoch.
        """
        drawn: dict[str, list[Entry]] = {run: [] for run in self._references}
        for entries in parts:
            for run, photographs in drawn.items():
                own = [entry for entry in entries if entry.run == run and entry.state == FOUND]
                if own:
                    photographs.append(own[derived_seed("view", own[0].id) % len(own)])
        return [said for run, photographs in drawn.items() if photographs for said in self._take(run, photographs, at)]

    def _take(self, run: str, photographs: Sequence[Entry], at: float) -> list[str]:
        watches, kept = self._watches(run, at), rows_of_watches(self._ledger)
        raised = []
        for entry in photographs:
            assert entry.score is not None
            values = {**json.loads(entry.appearance or "{}"), SCORE: entry.score}
            raised += take(watches, values, bool(entry.abnormal), self._expected_bad, entry.id)
        for quantity in raised:
            watches[quantity].text = self._text(run, quantity, watches)
        for quantity, watch in watches.items():
            name = name_of(run, quantity)
            _, since = kept.get(name, ("", None))
            alarm = None if watch.alarm is None else at if quantity in raised else since
            self._ledger.keep_watch(name, json.dumps(vars(watch)), alarm)
        return [f"drift: {watches[quantity].text}" for quantity in raised]

    def _watches(self, run: str, at: float) -> dict[str, Watch]:
        """Return the watches of a run; they begin where there are none, or the run or what is asked for is another."""
        kept, reference = stored(self._ledger), self._references[run]
        found = {}
        for quantity in QUANTITIES:
            of = digest([reference.of, self._against, self._expected_bad if quantity == SHARE else None])
            before = kept.get((run, quantity))
            if before is not None and before.of == of:
                before.level = max(before.level, self._level)  # a run that came since has its part of the probability
                found[quantity] = before
                continue
            against, resets = self._against, [] if before is None else before.resets
            if before is not None and not before.of:  # somebody reset it
                against = before.against
            elif before is not None:
                resets = [*resets, {"at": at, "by": "the station", "why": "its run or options changed"}]
            values = None if quantity == SHARE else reference.values.get(quantity, [])
            found[quantity] = Watch.begin(of, self._level, against, values)
            found[quantity].resets = resets
        return found

    def _text(self, run: str, quantity: str, watches: Mapping[str, Watch]) -> str:
        watch = watches[quantity]
        assert watch.alarm is not None
        last = self._ledger.photograph(watch.alarm)
        first = last if watch.since is None else self._ledger.photograph(watch.since)
        recent = self._ledger.recent(run, _SHOWN, first.id)
        at = time.strftime("%H:%M" if last.came - first.came < 43200 else "%Y-%m-%d %H:%M", time.localtime(first.came))
        part = "" if first.part is None else f", part {self._ledger.part(first.part).name}"
        views = sorted({str(entry.view) for entry in recent})
        where = f"{', '.join(views)}: " if len(self._references) > 1 else ""
        if quantity == SHARE:
            abnormal = sum(bool(entry.abnormal) for entry in recent)
            expected = f"more than the expected {self._expected_bad:.0%}"
            text = f"{abnormal} of the last {len(recent)} photographs are abnormal, {expected},"
        else:
            text = _differs(quantity, watch, _values(recent, quantity), always=True)
        others = [_differs(name, watches[name], _values(recent, name)) for name in QUANTITIES[:-1] if name != quantity]
        return "; ".join([f"{where}{text} since {at}{part}", *filter(None, others)])


def _differs(quantity: str, watch: Watch, values: Sequence[float], always: bool = False) -> str:
    """Return in words how values differ from the reference; nothing where they do not, unless it must be said."""
    if not watch.quantiles or not values:
        return ""
    now, usual = median(values), median(watch.quantiles)
    if not always and watch.within(now):
        return ""
    subject, more, less = _WORDS[quantity]
    part = f"{abs(now / usual - 1):.0%} " if usual > 0 else ""
    if part == "0% ":
        return f"{quantity.replace('_', ' ')} is distributed in another way than {_THAN[watch.against]}"
    return f"{subject} {part}{more if now > usual else less} than {_THAN[watch.against]}"


def _values(entries: Sequence[Entry], quantity: str) -> list[float]:
    """Return the values of a quantity as far as they are known; of scores those that are watched."""
    if quantity == SCORE:
        return [entry.score for entry in entries if entry.score is not None and not entry.abnormal]
    found = [json.loads(entry.appearance or "{}") for entry in entries]
    return [each[quantity] for each in found if quantity in each]


def reset(ledger: Ledger, by: str, at: float, against: str | None = None) -> int:
    """Have all watching begin anew, with a new probability of a false alarm; return how many alarms that ends.

    Parameters
    ----------
    by
        Who asks for it.
    at
        Seconds since the epoch.
    against
        What photographs are compared with from now on, ``training`` or ``station``; None for what it was.
    """
    ended = 0
    with ledger.changing():
        for of, watch in stored(ledger).items():
            ended += watch.alarm is not None
            kept = {"at": at, "by": by, "why": watch.text}
            anew = Watch("", watch.level, against or watch.against, resets=[*watch.resets, kept])
            ledger.keep_watch(name_of(*of), json.dumps(vars(anew)), None)
    return ended


def draw(ledger: Ledger, output: Path) -> None:
    """Draw for each alarm what has no picture yet: the last photographs against the reference.

    Raises
    ------
    OSError
        If a picture cannot be written.
    """
    for name, (_, alarm) in rows_of_watches(ledger).items():
        if alarm is None or (output / picture_of(name, alarm)).exists():
            continue
        run, _, quantity = name.rpartition("/")
        watches, recent = stored(ledger), ledger.recent(run, _SHOWN)
        panels = [
            Panel(other.replace("_", " "), watch.quantiles, _values(recent, other))
            for (of, other), watch in watches.items()
            if of == run and watch.quantiles
        ]
        text = chart(watches[run, quantity].text, panels)
        (output / FOLDER).mkdir(exist_ok=True)
        write_text(output / picture_of(name, alarm), text)

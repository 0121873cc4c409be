"""The sheet Decision as a part of a page: in the results notebook, and in the report that is made from it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from training_code.comparison.decision import THRESHOLDS, Assumptions, Candidate, groups_of, ranking
from training_code.comparison.operating_curve import Curve
from training_code.foundation.files import digest
from training_code.reporting.decision_answer import WORDS, answer

SCRIPT = Path(__file__).with_name("decision.js")
_SHARES = ("defective_share", "least_found")
_NUMBERS = {
    "defective_share": "share of defective parts, %",
    "false_alarm_cost": "cost of a false alarm",
    "miss_cost": "cost of a miss",
    "parts_a_day": "parts a day",
    "least_found": "least share of defects to be found, %",
}
_HEADS = (
    *("rank", "Model", "backbone and configuration", "threshold", "good parts refused, of 1,000 parts"),
    *("defective parts passed, of 1,000 parts", "share of defects found", "cost a day", "from (95%)", "to (95%)"),
    *("note", "promise"),
)
_STYLE = """
.decision form { display: flex; flex-wrap: wrap; gap: 0.6em 1.4em; margin: 0.6em 0; }
.decision label { display: flex; flex-direction: column; font-size: 90%; }
.decision input, .decision select { background: #fff2cc; border: 1px solid #bf9000; padding: 0.25em; font: inherit; }
.decision .answer p { margin: 0.2em 0; }
.decision .answer p:first-child { font-size: 125%; font-weight: bold; }
.decision tbody tr:first-child td { background: #9ec9e2; font-weight: bold; }
.decision table :is(td, th) { padding: 0.25em 0.5em; text-align: left !important; vertical-align: top; }
.decision table :is(td, th):nth-child(n+5):nth-child(-n+10) { text-align: right !important; }
.decision table :is(td, th):last-child { min-width: 11em; }
"""


@dataclass(frozen=True)
class DecisionPage:
    """Shows which model costs least on a line: as HTML whose numbers can be changed, otherwise as sentences."""

    candidates: tuple[Candidate, ...]
    line: Assumptions
    group: str | None = None

    def __repr__(self) -> str:
        """Return the answer in sentences."""
        return "\n".join(filter(None, answer(self.candidates, self.line, self.group)))

    def _repr_html_(self) -> str:
        content = self._content()
        name = f"decision-{digest(content)[:10]}"
        # What stands in a script ends at the first </, whatever the language: names may hold anything.
        data, script = json.dumps(content).replace("<", "\\u003c"), SCRIPT.read_text(encoding="utf-8")
        groups = [self.group, *groups_of(self.candidates)] if self.group else groups_of(self.candidates)
        return (
            f'<div class="decision" id="{name}"><style>{_STYLE}</style><form onsubmit="return false">'
            + _choice("group", "dataset and protocol", list(dict.fromkeys(groups)))
            + _choice("threshold", "threshold of each model", sorted(THRESHOLDS, key=self.line.threshold.__ne__))
            + "".join(self._number(number, label) for number, label in _NUMBERS.items())
            + '</form><div class="answer"></div><table><thead><tr>'
            + "".join(f"<th>{escape(head)}</th>" for head in _HEADS)
            + "</tr></thead><tbody></tbody></table></div>"
            + f'<script>(() => {{\n{script}\nstart(document.getElementById("{name}"), {data});\n}})();</script>'
        )

    def _content(self) -> dict[str, Any]:
        numbers = {name: value for name, value in asdict(self.line).items() if name in _NUMBERS}
        return {"candidates": [_plain(one) for one in self.candidates], "numbers": numbers, "words": WORDS}

    def _number(self, name: str, label: str) -> str:
        value = getattr(self.line, name) * (100 if name in _SHARES else 1)
        most = ' max="100"' if name in _SHARES else ""
        field = f'<input type="number" name="{name}" min="0"{most} step="any" value="{value:.12g}">'
        return f"<label>{escape(label)}{field}</label>"


def display_decision(
    candidates: Sequence[Candidate], line: Assumptions | None = None, group: str | None = None
) -> DecisionPage:
    """Return what a notebook shows as the answer, with fields in which the numbers of the line can be changed.

    Parameters
    ----------
    candidates
        Of `training_code.comparison.decision_candidates.read_candidates`, as `Comparison` has them.
    line
        What it begins with.
    group
        Dataset and protocol that it begins with; None for that with most models of the dataset that was run last.

    Raises
    ------
    InputError
        If there is no such group.
    """
    line = line or Assumptions()
    ranking(candidates, line, group)  # refuses a group that is not there
    return DecisionPage(tuple(candidates), line, group)


def _plain(one: Candidate) -> dict[str, Any]:
    names = (
        "group",
        "dataset",
        "beside",
        "model",
        "details",
        "named",
        "labels",
        "saw_labels",
        "run_id",
        "seeds",
        "promise",
        "flattery",
    )
    known = {name: getattr(one, name) for name in names}
    return known | {"curve": _points(one.curve), "deployed": _points(one.deployed)}


def _points(curve: Curve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    rates = {"alarms": curve.false_alarms.tolist(), "misses": curve.misses.tolist()}
    return {"thresholds": list(curve.thresholds)} | rates


def _choice(name: str, label: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f'<label>{escape(label)}<select name="{name}">{options}</select></label>'

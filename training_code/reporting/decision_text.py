"""The answer of the sheet Decision as a terminal shows it: a sentence for each dataset."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openpyxl import load_workbook
from openpyxl.cell.cell import TYPE_FORMULA

from training_code.comparison.decision import (
    CHEAPEST,
    DEPLOYED,
    Assumptions,
    Candidate,
    groups_of,
    protocols_of,
    ranking,
)
from training_code.reporting.decision import DECISION, FIRST_QUESTION, QUESTIONS
from training_code.reporting.decision_answer import dataset_of, no_model
from training_code.reporting.decision_sheet import ASKED, TITLE

_SHARES = ("defective_share", "least_found")
_YELLOW = 3  # the place of the yellow cells in a row


@dataclass(frozen=True)
class Entered:
    """What the yellow cells of a workbook say.

    Attributes
    ----------
    line
        What they say of the line; the example where they say nothing.
    group
        Dataset and protocol; None where nothing is chosen.
    formulas
        The cells, of `QUESTIONS`, that hold a formula, whose value only a spreadsheet program knows: they say nothing.
    """

    line: Assumptions
    group: str | None = None
    formulas: tuple[str, ...] = ()


def answers(candidates: Sequence[Candidate], workbook: Path) -> list[str]:
    """Return the answer for each dataset in a sentence, below one that says for which costs.

    These are those in the yellow cells of the workbook, for each cell that says nothing those of the example. Of a
    dataset with several protocols it is the one that the workbook names, otherwise the one with most models. What is in
    a cell and does not count is told, too.
    """
    if not candidates:
        return []
    yellow = entered(workbook) or Entered(Assumptions())
    costs = "the example of a line" if yellow.line == Assumptions() else "the yellow cells"
    known = {group.casefold(): group for group in groups_of(candidates)}  # the sheet takes capitals for small letters
    chosen = known.get((yellow.group or "").casefold())
    said = [f"the sheet {DECISION}, for {costs} ({in_words(yellow.line)}){_passed_over(yellow, chosen)}:"]
    for groups in protocols_of(candidates).values():
        said.append(in_short(candidates, yellow.line, chosen if chosen in groups else groups[0]))
    return said


def _passed_over(yellow: Entered, chosen: str | None) -> str:
    """Return what is in yellow cells and does not count; nothing where all of it does."""
    said = [
        f'; the formula at "{ASKED[name][0]}" was passed over, as if the cell were blank: only a spreadsheet program '
        "calculates it"
        for name in yellow.formulas
    ]
    if yellow.group is not None and chosen is None:
        said.append(f'; there is no model of "{yellow.group}", which is chosen at "{ASKED["group"][0]}"')
    return "".join(said)


def in_short(candidates: Sequence[Candidate], line: Assumptions, group: str) -> str:
    """Return the answer for a dataset and protocol in one sentence: model, run, cost, false alarms and misses."""
    dataset, table = dataset_of(candidates, group), ranking(candidates, line, group)
    where = f"On {dataset}"
    if len(protocols_of(candidates)[dataset]) > 1:
        where += f" ({group.removeprefix(f'{dataset}: ')})"
    table = table[table["rank"].notna()]
    if table.empty:
        return no_model(where)
    best = table.iloc[0]
    (one,) = (one for one in candidates if one.run_id == best["run_id"])
    model, cost = f"{one.named}, run {one.run_id}", best["cost_a_day"]
    base = min(line.refusing_all, line.passing_all)
    idle = "no inspection" if line.passing_all <= line.refusing_all else "refusing every part"
    if cost >= base:
        return (
            f"{where}: no model is better than {idle}, which costs {base:,.2f} a day; the cheapest one costs "
            f"{cost:,.2f}: {model}."
        )
    by = "with its threshold in force," if line.threshold == DEPLOYED else "at threshold"
    defective = line.parts_a_day * line.defective_share
    alarms = (line.parts_a_day - defective) * best["image_FalseAlarmRate"]
    misses = defective * best["image_MissRate"]
    low, high = best["cost_a_day_low"], best["cost_a_day_high"]
    return (
        f"{where}: choose {model}, {by} {best['threshold']}: {cost:,.2f} a day (95% interval {low:,.2f} to "
        f"{high:,.2f}; {idle} costs {base:,.2f}), for {_count(alarms)} false alarms and {_count(misses)} misses of "
        f"{_count(defective)} defective parts, by {one.good:,} good and {one.defective:,} defective test images."
    )


def in_words(line: Assumptions) -> str:
    """Return what a line is like."""
    said = [
        f"{100 * line.defective_share:g}% of the parts defective",
        f"a false alarm costs {line.false_alarm_cost:,.12g}",
        f"a miss {line.miss_cost:,.12g}",
        f"{line.parts_a_day:,.12g} parts a day",
    ]
    said += [f"at least {100 * line.least_found:g}% of the defects found"] if line.least_found else []
    said += ["each threshold the best one for these costs"] if line.threshold == CHEAPEST else []
    return ", ".join(said)


def entered(workbook: Path) -> Entered | None:
    """Return what the yellow cells of a workbook say; None where there is no such sheet.

    A blank cell means the example, as in the sheet.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what openpyxl does not keep, as nothing is saved here
        book = load_workbook(workbook, read_only=True)
    try:
        for sheet in sorted(book.worksheets, key=lambda sheet: sheet.title != DECISION):  # before copies of it
            if sheet.title.startswith(DECISION) and sheet["A1"].value == TITLE:
                last = FIRST_QUESTION + len(QUESTIONS) - 1
                rows = sheet.iter_rows(FIRST_QUESTION, last, max_col=_YELLOW + 1)
                return _entered(dict(zip(QUESTIONS, (row[_YELLOW] for row in rows), strict=True)))
    finally:
        book.close()
    return None


def _entered(cells: dict[str, Any]) -> Entered:
    formulas = tuple(name for name, cell in cells.items() if cell.data_type == TYPE_FORMULA)
    values = {name: None if name in formulas else cell.value for name, cell in cells.items()}
    numbers = {
        name: min(max(float(value), 0.0), 1.0 if name in _SHARES else float("inf"))
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("group", "threshold")
    }
    is_cheapest = str(values["threshold"]).lower() == CHEAPEST
    chosen = None if values["group"] is None else str(values["group"])
    return Entered(Assumptions(**numbers, threshold=CHEAPEST if is_cheapest else DEPLOYED), chosen, formulas)


def _count(value: float) -> str:
    return f"{round(value, 2):g}" if value < 10 else f"{value:,.0f}"

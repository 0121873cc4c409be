"""The answer of the sheet Decision as a terminal shows it: a sentence for each dataset."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from training_code.comparison.decision import CHEAPEST, DEPLOYED, Assumptions, Candidate, protocols_of, ranking
from training_code.reporting.decision import DECISION, FIRST_QUESTION, QUESTIONS
from training_code.reporting.decision_answer import dataset_of, no_model
from training_code.reporting.decision_sheet import TITLE

_SHARES = ("defective_share", "least_found")
_YELLOW = 3  # the place of the yellow cells in a row


def answers(candidates: Sequence[Candidate], workbook: Path) -> list[str]:
    """Return the answer for each dataset in a sentence, below one that says for which costs.

    These are those in the yellow cells of the workbook; where it has none that can be read, those of the example. Of a
    dataset with several protocols it is the one that the workbook names, otherwise the one with most models.
    """
    if not candidates:
        return []
    line, chosen = entered(workbook) or (Assumptions(), None)
    costs = "the example of a line" if line == Assumptions() else "the yellow cells"
    said = [f"the sheet {DECISION}, for {costs} ({in_words(line)}):"]
    for groups in protocols_of(candidates).values():
        said.append(in_short(candidates, line, chosen if chosen in groups else groups[0]))
    return said


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
    if cost >= base:
        idle = "no inspection" if line.passing_all <= line.refusing_all else "refusing every part"
        return (
            f"{where}: no model is better than {idle}, which costs {base:,.2f} a day; the cheapest one costs "
            f"{cost:,.2f}: {model}."
        )
    threshold = "" if line.threshold == DEPLOYED else f", at threshold {best['threshold']}"
    alarms = line.parts_a_day * (1 - line.defective_share) * best["image_FalseAlarmRate"]
    misses = line.parts_a_day * line.defective_share * best["image_MissRate"]
    return (
        f"{where}: choose {model}{threshold}: {cost:,.2f} a day, for {_count(alarms)} false alarms and "
        f"{_count(misses)} misses."
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


def entered(workbook: Path) -> tuple[Assumptions, str | None] | None:
    """Return what the yellow cells of a workbook say: of the line, and which dataset and protocol.

    A blank cell means the example, as in the sheet. None where there is no such sheet, or where a cell holds a formula,
    whose value only a spreadsheet program knows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what openpyxl does not keep, as nothing is saved here
        book = load_workbook(workbook, read_only=True)
    try:
        for sheet in sorted(book.worksheets, key=lambda sheet: sheet.title != DECISION):  # before copies of it
            if sheet.title.startswith(DECISION) and sheet["A1"].value == TITLE:
                last = FIRST_QUESTION + len(QUESTIONS) - 1
                rows = sheet.iter_rows(FIRST_QUESTION, last, max_col=_YELLOW + 1, values_only=True)
                return _line(dict(zip(QUESTIONS, (row[_YELLOW] for row in rows), strict=True)))
    finally:
        book.close()
    return None


def _line(cells: dict[str, Any]) -> tuple[Assumptions, str | None] | None:
    if any(isinstance(value, str) and value.startswith("=") for value in cells.values()):
        return None
    numbers = {
        name: min(max(float(value), 0.0), 1.0 if name in _SHARES else float("inf"))
        for name, value in cells.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("group", "threshold")
    }
    is_cheapest = str(cells["threshold"]).lower() == CHEAPEST
    chosen = None if cells["group"] is None else str(cells["group"])
    return Assumptions(**numbers, threshold=CHEAPEST if is_cheapest else DEPLOYED), chosen


def _count(value: float) -> str:
    return f"{round(value, 2):g}" if value < 10 else f"{value:,.0f}"

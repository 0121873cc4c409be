"""Whatever was done to a record: the comparison comes to its end, names it, and says the same of the other runs."""

import copy
import json
import random
from typing import Any

import pytest
from helpers.results import DETECTORS, make_run

from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.records.record import RECORD
from training_code.reporting.sheets import all_sheets, compare

OTHERS = (None, True, 7, -1.5, float("nan"), 10**400, "text", "=1+1", "", [], [1, [2]], {}, {"a": {"b": None}}, "\x00")
DAMAGED, AT_ONCE = 500, 25


def _places(content: Any, place: tuple = ()) -> list[tuple]:
    """Return the place of every value in plain data."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place, *(found for key, value in inner for found in _places(value, (*place, key)))]


def _mutated(content: dict, generator: random.Random) -> str:
    """Return the text of a record with a value left out, or in the place of one another one."""
    content = copy.deepcopy(content)
    *above, last = generator.choice(_places(content)[1:])
    holder = content
    for key in above:
        holder = holder[key]
    what = generator.randrange(len(OTHERS) + 2)
    if what == len(OTHERS):
        del holder[last]
    elif what == len(OTHERS) + 1:
        holder[last] = "NESTED"
    else:
        holder[last] = OTHERS[what]
    return json.dumps(content).replace('"NESTED"', "[" * 5000 + "]" * 5000)


@pytest.mark.slow
def test_damaged_records_are_named_and_change_no_other_number(tmp_path):
    generator, unreadable = random.Random(18), 0
    for batch in range(DAMAGED // AT_ONCE):
        results = tmp_path / str(batch)
        for detector in DETECTORS:
            make_run(results, f"good-{detector}", detector)
        alone = runs_table(read_records(results)[0]).set_index("run_id")
        content = json.loads((results / "runs" / "good-Padim" / RECORD).read_text())
        for number in range(AT_ONCE):
            folder = results / "runs" / f"bad-{number}"
            folder.mkdir()
            (folder / RECORD).write_text(_mutated(content | {"run_id": folder.name}, generator))
        runs, problems = read_records(results)
        names = {folder.name for folder, _ in runs}
        for number in range(AT_ONCE):
            named = sum(f"bad-{number}/" in text or f"bad-{number} " in text for text in problems)
            assert (f"bad-{number}" in names) or named, number
        unreadable += len(problems)
        table = runs_table(runs)
        others = table[table["folder"].str.contains("good-")].set_index("run_id")
        shared = [name for name in alone if name in others]
        good = [name for name in alone.index if name in others.index]  # one of the bad ones may be newer than its twin
        assert len(good) >= 2 and others.loc[good, shared].astype(str).equals(alone.loc[good, shared].astype(str))
        sheets = {sheet.name: sheet.table for sheet in all_sheets(compare(table, problems), results)}
        assert set(problems) <= set(sheets["Failed"]["error"])
    assert unreadable > DAMAGED / 2

"""Which run is meant: by its id, by its folder, or the best one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from inference_code.ranges import BEST
from training_code.comparison.configurations import CRITERION
from training_code.comparison.not_run import few, not_read, not_run, together
from training_code.comparison.recommended import best_by, recommended
from training_code.comparison.table import runs_table
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, suggestion
from training_code.records.metrics import METRICS, criterion_metric
from training_code.records.reading import read_record, read_records
from training_code.records.record import RECORD, Record
from training_code.records.taught import TAUGHT


def find_run(
    run: str | Path,
    results: Path,
    dataset: str | None = None,
    criterion: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Return the folder of a run given by its id, its folder, or ``"best"``.

    Parameters
    ----------
    run, results
        The run, and the folder that holds ``runs/``.
    dataset, criterion
        For ``"best"``: the dataset, which may be left out where there are runs of one alone, and the metric that
        decides. Without a metric it is the run that the sheet Decision recommends for its example of a line, see
        `recommended`; where no run has false alarms and misses, that with the best `CRITERION`.
    say
        Gets sentences about the best run: a few about what could not be read, and so takes no part; which one it is,
        and why.

    Raises
    ------
    InputError
        If there is no such run, dataset or criterion, no dataset is named where there are runs of several, or the sheet
        Decision says that no model can be chosen of the protocol for which it answers.
    """
    if not str(run).strip():
        raise InputError("no run is named; valid: the id or the folder of a run, or best")
    if str(run) == BEST:
        return _find_best(results, dataset, criterion, say)
    if dataset is not None or criterion is not None:
        raise InputError(f"dataset and criterion choose among runs; valid with them: best, not {str(run)!r}")
    for candidate in (results / "runs" / str(run), paths.from_home(run)):
        if candidate.is_dir():
            return candidate
    known = sorted(entry.name for entry in (results / "runs").glob("*/"))
    raise InputError(
        f"there is no run {str(run)!r} in {results}{suggestion(run, [BEST, *known])}; valid: best, "
        f"{choices(known) or 'none yet'}"
    )


def in_use(folder: Path) -> Path:
    """Return the folder of what predicts for a run: that of its taught detector where it was taught something."""
    taught = folder / TAUGHT
    return taught if (taught / RECORD).is_file() else folder


def refuse_taught(folder: Path) -> None:
    """Raise an `InputError` for a run that was taught something: no file of 8-bit integers can be made of it."""
    taught = read_finished(in_use(folder)).taught
    if taught is not None:
        run = folder.parent.name if folder.name == TAUGHT else folder.name
        many = "" if len(taught.images) == 1 else "s"
        raise InputError(
            f"{run} was taught {len(taught.images)} photograph{many}, and files of 8-bit integers are made of runs as "
            f"they were trained; valid: float32, or anomaly teach {run} --undo before"
        )


def _find_best(results: Path, dataset: str | None, criterion: str | None, say: Callable[[str], None] | None) -> Path:
    if criterion is not None:
        criterion_metric(criterion)  # so that a wrong one is told first
    runs, problems = read_records(results)
    table = runs_table(runs)
    name = _dataset(table, results, dataset, problems)
    of_dataset = table[table["dataset"] == name]
    if criterion is None:
        best, problems = recommended(table, dataset=name, problems=problems)
    else:
        best = best_by(of_dataset, criterion)
    if best is None and criterion is None and (best := best_by(of_dataset, CRITERION)):
        best = replace(best, why=f"{best.why}, since no run there has false alarms and misses to go by")
    if best is None:
        able = [metric for metric in METRICS if metric in of_dataset and of_dataset[metric].notna().any()]
        raise InputError(
            f"{results} holds no run of {name} with {criterion or CRITERION}; valid: the id of a run, or a criterion "
            f"that its runs have: {choices(able) or 'none'}{not_read(problems)}"
        )
    if say is not None:
        for problem in few(problems):
            say(f"not read: {problem}")
        say(best.sentence)
    folder: str = table.loc[table["run_id"] == best.run_id, "folder"].iloc[0]  # a person may have given it another name
    return paths.from_home(folder)


def _dataset(table: pd.DataFrame, results: Path, given: str | None, problems: Sequence[str]) -> str:
    """Return the dataset that is meant: the one that is given, or the only one that there are runs of."""
    known = sorted(table["dataset"].unique())
    if given is None and len(known) == 1:
        return known[0]
    if given is not None and given in known:
        return given
    if given is None and known:
        raise InputError(f"--dataset is needed with best: there are runs of {together(known)}{not_read(problems)}")
    raise not_run(given, known, results, problems)


def read_finished(folder: Path) -> Record:
    """Return the record of the run in a folder.

    Raises
    ------
    InputError
        If the run did not end well.
    """
    try:
        record = read_record(folder)
    except ValueError as error:
        raise InputError(str(error)) from error
    if record is None or record.status != "ok":
        raise InputError(f"the run in {folder} did not end well: {record.error if record else 'it is unfinished'}")
    return record

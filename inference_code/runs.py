"""Which run is meant: by its id, by its folder, or the best one."""

from pathlib import Path

from training_code.comparison.configurations import CRITERION, best_models
from training_code.comparison.table import runs_table
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, unknown
from training_code.records.metrics import criterion_metric
from training_code.records.reading import read_record, read_records
from training_code.records.record import RECORD, Record
from training_code.records.taught import TAUGHT


def find_run(run: str | Path, results: Path, dataset: str | None = None, criterion: str | None = None) -> Path:
    """Return the folder of a run given by its id, its folder, or ``"best"``.

    Parameters
    ----------
    run, results
        The run, and the folder that holds ``runs/``.
    dataset, criterion
        For ``"best"``: the run of the configuration with the best ``criterion``, `CRITERION` by default, on a
        dataset. Without a dataset it is the best on any, which says little where they are not equally hard.

    Raises
    ------
    InputError
        If there is no such run, dataset or criterion.
    """
    if not str(run).strip():
        raise InputError("no run is named; valid: the id or the folder of a run, or best")
    if str(run) == "best":
        return _find_best(results, dataset, criterion or CRITERION)
    if dataset is not None or criterion is not None:
        raise InputError(f"dataset and criterion choose among runs; valid with them: best, not {str(run)!r}")
    for candidate in (results / "runs" / str(run), paths.from_home(run)):
        if candidate.is_dir():
            return candidate
    known = sorted(entry.name for entry in (results / "runs").glob("*/"))
    raise InputError(f"there is no run {str(run)!r} in {results}; valid: best, {choices(known) or 'none yet'}")


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


def _find_best(results: Path, dataset: str | None, criterion: str) -> Path:
    metric = criterion_metric(criterion)
    table = runs_table(read_records(results)[0])
    if dataset is not None:
        known = sorted(table["dataset"].unique()) if len(table) else []
        if dataset not in known:
            raise unknown("dataset", dataset, known)
        table = table[table["dataset"] == dataset]
    best = best_models(table, criterion) if len(table) else table
    if best.empty:
        of = f" of {dataset}" if dataset else ""
        raise InputError(f"{results} holds no run{of} with {criterion}")
    return results / "runs" / best.loc[metric.gain(best[criterion].astype(float)).idxmax(), "run_id"]


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

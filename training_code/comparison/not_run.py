"""What there are no runs of: a dataset that is misspelt or was not run yet, runs that cannot be read."""

from collections.abc import Sequence
from pathlib import Path

from training_code.data.demo import EMBEDDED
from training_code.foundation import paths
from training_code.foundation.errors import InputError, unknown

# The dataset of the sweep file for photographs of one's own.
_OWN = "boards"
# Sentences about what could not be read that are told.
_TOLD = 3


def not_run(
    dataset: str | None, known: Sequence[str], results: Path | None = None, problems: Sequence[str] = ()
) -> InputError:
    """Return the error for a dataset without runs: how to begin where it is there, otherwise which ones have runs.

    Parameters
    ----------
    dataset
        Its name; None where none was named and there are no runs at all.
    known
        The datasets that there are runs of.
    results
        The folder that holds ``runs/``; None where it is clear.
    problems
        Sentences about what could not be read there, which may be runs of that dataset.
    """
    if known and not (dataset and _is_there(dataset)):
        return InputError(f"{unknown('dataset', dataset, known)}{not_read(problems)}")
    sweep = paths.SWEEPS / f"{dataset or _OWN}.yaml"
    does = f"anomaly sweep {paths.relative_to_home(sweep)}" if sweep.is_file() else "a sweep with that dataset"
    others = f"; there are runs of {together(known)}" if known else ""
    on, place = f" on {dataset}" if dataset else "", "" if results is None else f" in {results}"
    none = f"there is no run{on}{place} that can be read" if problems else f"nothing has been run{on}{place} yet"
    return InputError(f"{none}: {does}, or a notebook{others}{not_read(problems)}")


def few(problems: Sequence[str]) -> list[str]:
    """Return a few of the sentences about what could not be read, and where there are more, how many.

    Examples
    --------
    >>> few(["a", "b", "c", "d", "e"])
    ['a', 'b', 'c', '2 more, which anomaly compare lists in its sheet Failed']
    """
    more = len(problems) - _TOLD
    told = [f"{more} more, which anomaly compare lists in its sheet Failed"] if more > 0 else []
    return [*problems[:_TOLD], *told]


def not_read(problems: Sequence[str]) -> str:
    """Return what an error says of what could not be read, after its own sentence; nothing where all was read."""
    return f"; not read: {'; '.join(few(problems))}" if problems else ""


def _is_there(dataset: str) -> bool:
    """Return whether there is a dataset of a name, whatever was run on it."""
    return dataset in EMBEDDED or (Path(dataset).name == dataset and (paths.DATA / dataset).is_dir())


def together(names: Sequence[str]) -> str:
    """Return names as a sentence has them."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

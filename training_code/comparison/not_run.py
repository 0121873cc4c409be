"""Datasets that somebody asks for and that there are no runs of: misspelt, or nothing was run on them yet."""

from collections.abc import Sequence
from pathlib import Path

from training_code.data.demo import EMBEDDED
from training_code.foundation import paths
from training_code.foundation.errors import InputError, unknown

# The dataset of the sweep file for photographs of one's own.
_OWN = "boards"


def not_run(dataset: str | None, known: Sequence[str], results: Path | None = None) -> InputError:
    """Return the error for a dataset without runs: how to begin where it is there, otherwise which ones have runs.

    Parameters
    ----------
    dataset
        Its name; None where none was named and there are no runs at all.
    known
        The datasets that there are runs of.
    results
        The folder that holds ``runs/``; None where it is clear.
    """
    if known and not (dataset and _is_there(dataset)):
        return unknown("dataset", dataset, known)
    sweep = paths.SWEEPS / f"{dataset or _OWN}.yaml"
    does = f"anomaly sweep {paths.relative_to_home(sweep)}" if sweep.is_file() else "a sweep with that dataset"
    others = f"; there are runs of {together(known)}" if known else ""
    on, place = f" on {dataset}" if dataset else "", "" if results is None else f" in {results}"
    return InputError(f"nothing has been run{on}{place} yet: {does}, or a notebook{others}")


def _is_there(dataset: str) -> bool:
    """Return whether there is a dataset of a name, whatever was run on it."""
    return dataset in EMBEDDED or (Path(dataset).name == dataset and (paths.DATA / dataset).is_dir())


def together(names: Sequence[str]) -> str:
    """Return names as a sentence has them."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

"""The tools that are compared: how each is started, and where its results are."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from training_code.foundation import paths
from training_code.foundation.program import DISTRIBUTION

from . import grid
from .grid import Grid

#: The environment of imgad: `make compare-peers` makes it.
ENVIRONMENT = paths.ROOT / ".venv-peers"
#: image AUROC and seconds of a configuration by its number in the grid.
Results = dict[int, dict[str, float]]
# anomalib's benchmark pipeline cannot gather results of detectors with different arguments, so each has a call of its
# own; one that is done is not begun again.
_PIPELINE = """
for file in */grid.yaml; do
  cd "$(dirname "$file")"
  [ -d runs/benchmark ] || "$0" benchmark --config grid.yaml || exit 1
  cd ..
done
"""


@dataclass(frozen=True)
class Tool:
    """A way to run the grid. ``prepare`` writes its input to a folder, where ``command`` is run as often as needed."""

    name: str
    packages: dict[str, str]
    prepare: Callable[[Path, Path, Grid], None]
    command: tuple[str, ...]
    results: Callable[[Path, Grid], Results]


def tools() -> list[Tool]:
    """Return the tools, with this project first."""
    scripts = Path(sys.executable).parent
    anomalibs = {"anomalib": version("anomalib")}
    ours = {DISTRIBUTION: version(DISTRIBUTION), **anomalibs}
    imgads = {"imgad": imgad_version(), **anomalibs}
    by_hand = (sys.executable, str(Path(__file__).with_name("by_hand.py")))
    pipeline = ("sh", "-c", _PIPELINE, str(scripts / "anomalib"))
    sweep = (sys.executable, "-m", "training_code.sweep", "grid.yaml")
    imgad = (str(ENVIRONMENT / "bin" / "imgad"), "benchmark", "--config", "grid.yaml", "--out", "results.csv")
    return [
        Tool("this project", ours, grid.write_own, sweep, _own_results),
        Tool("anomalib by hand", anomalibs, grid.write_by_hand, by_hand, _table_results),
        Tool("anomalib benchmark", anomalibs, grid.write_pipeline, pipeline, pipeline_results),
        Tool("imgad", imgads, grid.write_imgad, imgad, _imgad_results),
    ]


def imgad_folder() -> Path:
    """Return where imgad is installed."""
    (folder,) = ENVIRONMENT.glob("lib/python*/site-packages/imgad")
    return folder


def imgad_version() -> str:
    """Return the version of imgad, which is in another environment than this process."""
    (metadata,) = imgad_folder().parent.glob("imgad-*.dist-info")
    return metadata.name.removeprefix("imgad-").removesuffix(".dist-info")


def package_folder(tool: str) -> Path:
    """Return the folder of the package whose lines facts about a tool name."""
    if tool == "imgad":
        return imgad_folder()
    found = find_spec("training_code" if tool == "this project" else "anomalib")  # importing it takes 15 s
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def _own_results(place: Path, given: Grid) -> Results:
    found = {}
    for path in place.glob("home/results/runs/*/run.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        identity = record["identity"]
        for number, (name, arguments) in enumerate(given):
            if name == identity["detector"] and arguments.items() <= identity["arguments"].items():
                seconds = sum(record["times"][stage] for stage in ("fit", "calibrate", "test", "metrics"))
                found[number] = {"image_AUROC": record["metrics"]["image_AUROC"], "seconds": seconds}
    return found


def _table_results(place: Path, given: Grid) -> Results:
    return {
        number: {"image_AUROC": float(row["image_AUROC"]), "seconds": float(row["seconds"])}
        for number, row in enumerate(_rows(place.glob("results.csv")))
    }


def _imgad_results(place: Path, given: Grid) -> Results:
    return {
        number: {"image_AUROC": float(row["auroc"]), "seconds": float(row["fit_time_s"]) + float(row["test_time_s"])}
        for number, row in enumerate(_rows(place.glob("results.csv")))
    }


def pipeline_results(place: Path, given: Grid) -> Results:
    """Return what calls of the pipeline have stored, one for each detector."""
    found = {}
    for name in {name for name, _ in given}:
        numbers = [number for number, (other, _) in enumerate(given) if other == name]
        for number, row in zip(numbers, _rows(place.glob(f"{name}/runs/benchmark/*/results.csv")), strict=False):
            found[number] = {"image_AUROC": float(row["image_AUROC"]), "seconds": float(row["job_duration"])}
    return found


def _rows(files: Any) -> list[dict[str, str]]:
    rows = []
    for path in files:
        with open(path, newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    return rows

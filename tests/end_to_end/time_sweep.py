"""``python tests/end_to_end/time_sweep.py``: what a sweep costs beside its runs, in seconds.

Measured are a sweep of 500 stored runs, and what papermill and a kernel, warm and fresh, cost for a job: a kernel that
does nothing, one that imports what a training notebook imports, and a whole job, beside the same in this process.
"""

import argparse
import dataclasses
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.data import make_mvtec  # noqa: E402
from helpers.records import make_record  # noqa: E402

from training_code.experiment import Experiment  # noqa: E402
from training_code.notebooks import KERNELS  # noqa: E402
from training_code.notebooks.kernel import KernelOptions, execute_notebook  # noqa: E402
from training_code.records.code import code_hash  # noqa: E402
from training_code.records.reading import write_record  # noqa: E402
from training_code.sweep.file import read_sweep  # noqa: E402
from training_code.sweep.plan import Planner, make_plan  # noqa: E402

GOOD = ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb"
STORED = 500
# Within this a sweep of `STORED` runs must be answered.
LIMIT = 3.0


def main() -> int:
    """Run the script; the exit status is 1 if the stored sweep is answered too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken (default: 3)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = make_mvtec(folder / "tiny")
        answered = time_stored(dataset, folder, rounds)
        time_kernels(dataset, folder, rounds)
    return 0 if answered < LIMIT else 1


def time_stored(dataset: Path, folder: Path, rounds: int) -> float:
    """Print and return how long a sweep of stored runs takes."""
    file, results = folder / "sweep.yaml", folder / "stored"
    entry = {"notebook": str(GOOD), "select": {"n_features": 20}, "vary": {"n_features": [*range(1, 26)]}}
    parameters = {"dataset": str(dataset), "seed": [*range(STORED // 25)]}
    file.write_text(yaml.safe_dump({"parameters": parameters, "notebooks": [entry]}))
    jobs = make_plan(read_sweep(file), Planner(), str(results))
    assert len(jobs) == STORED
    for job in jobs:
        record = make_record(job.run_id, job.prepared.identity)
        write_record(results / "runs" / job.run_id, dataclasses.replace(record, code_sha256=code_hash(record.detector)))

    def sweep() -> None:
        command = [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(results)]
        output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert f"{STORED} jobs: {STORED} stored" in output.stdout, output.stdout + output.stderr
        assert not (results / "executing").exists(), "a kernel was started"

    seconds = median_seconds(sweep, rounds)
    print(f"{STORED} stored runs: {seconds:.1f} s, no kernel")
    return seconds


def time_kernels(dataset: Path, folder: Path, rounds: int) -> None:
    """Print what a kernel costs."""
    good = nbformat.read(GOOD, as_version=4)
    names = itertools.count()

    def execute(start: str, cells: list[nbformat.NotebookNode], parameters: dict[str, str]) -> None:
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=good.metadata)
        kernel = KernelOptions(start, log=folder / "kernel.log")
        execute_notebook(notebook, folder / "executed.ipynb", parameters, kernel=kernel)

    def job(start: str) -> None:
        # The title, imports, parameters, the experiment, a heading and one configuration.
        execute(start, good.cells[:6], {"dataset": str(dataset), "results": str(folder / f"runs-{next(names)}")})

    def run() -> None:
        experiment = Experiment(dataset, image_size=64, seed=0, results=folder / f"runs-{next(names)}")
        experiment.run("Padim", backbone="efficientnet_lite0", layers=["blocks.2"], n_features=10)

    run()  # a warm cache for all
    for start in KERNELS:
        execute(start, [], {})  # the process that forks has imported
        nothing = median_seconds(lambda start=start: execute(start, [], {}), rounds)
        imports = median_seconds(lambda start=start: execute(start, good.cells[1:2], {}), rounds)
        whole = median_seconds(lambda start=start: job(start), rounds)
        print(f"a {start} kernel that does nothing: {nothing:.1f} s")
        print(f"… that imports what a job does: {imports:.1f} s")
        print(f"… a job of one configuration: {whole:.1f} s")
    print(f"the same configuration in this process: {median_seconds(run, rounds):.1f} s")


def median_seconds(work: Callable[[], None], rounds: int) -> float:
    """Return the median duration of ``work``."""
    durations = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


if __name__ == "__main__":
    sys.exit(main())

"""``python tests/end_to_end/time_comparison.py [COUNT]``: the comparison of COUNT runs, in seconds and bytes.

The exit status is 1 if the workbook of 5,000 runs takes a minute or a GB, or its notebook three minutes.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.results import DETECTORS, make_run  # noqa: E402

# Seconds and bytes for 5,000 runs.
WORKBOOK, MEMORY, NOTEBOOK = 60, 10**9, 180
# What is measured, in a process of its own: its peak is the workbook's.
_WRITE = """
import resource, sys, time
from pathlib import Path
from training_code.reporting.sheets import all_sheets, compare
from training_code.comparison.table import runs_table
from training_code.reporting.workbook import write_workbook
from training_code.records.reading import read_records
start = time.perf_counter()
results = Path(sys.argv[1])
runs, problems = read_records(results)
sheets = all_sheets(compare(runs_table(runs), problems), results)
write_workbook(Path(sys.argv[2]), sheets)
print(time.perf_counter() - start, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=5000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_runs(folder / "results", count)
        command = [sys.executable, "-c", _WRITE, str(folder / "results"), str(folder / "w.xlsx")]
        output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        seconds, memory = map(float, output.split())
        print(f"workbook of {count} runs: {seconds:.1f} s, {memory / 1e9:.2f} GB with all libraries")
        start = time.perf_counter()
        command = [sys.executable, "-m", "training_code.compare", "--results", str(folder / "results")]
        subprocess.run([*command, "--output", str(folder / "n.xlsx")], cwd=ROOT, check=True, capture_output=True)
        notebook = time.perf_counter() - start
        print(f"notebook of {count} runs, workbook and imports included: {notebook:.1f} s")
    return 0 if seconds < WORKBOOK and memory < MEMORY and notebook < NOTEBOOK else 1


def make_runs(results: Path, count: int) -> None:
    """Write runs of three detectors on ten datasets with three seeds, each with 100 test images."""
    places = itertools.product(range(1, 2 + count // 90), DETECTORS, range(10), range(3))
    for number, (value, detector, dataset, seed) in enumerate(itertools.islice(places, count)):
        arguments = dict(DETECTORS[detector])
        arguments[list(arguments)[-1]] = value
        run_id = f"{detector.lower()}-backbone-{number:010x}"
        make_run(results, run_id, detector, seed, 1 + value % 3, f"data{dataset}", 100, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())

"""``python tests/end_to_end/kill_sweep.py COUNT``: kill a sweep COUNT times at a random moment, and see what is left.

Each time a sweep of 12 quick jobs is begun with ``--jobs 2``, its whole process group is killed with SIGKILL, and it
is begun again. At the end there must be 12 runs, each ``ok`` and with its executed notebook, none made twice, no record
half written, and no process left.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.data import make_mvtec  # noqa: E402

from training_code.records.reading import read_record  # noqa: E402
from training_code.records.record import NOTEBOOK, RECORD  # noqa: E402

JOBS = 12
# Seconds after which a process that was left must have ended itself, and in which a sweep must come to its end.
_PATIENCE, _LIMIT = 60, 600


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: other ones each time)")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_mvtec(Path(folder) / "tiny")
        duration, number, sweeps = 40.0, 0, 0
        while number < options.count:
            sweeps += 1
            results = Path(folder) / f"results-{sweeps}"
            moment = moments.uniform(0, duration)
            begun = time.monotonic()
            stored = kill_and_go_on(dataset, results, moment)
            took = time.monotonic() - begun
            if stored is None:
                duration = took
                print(f"a sweep came to its end within {took:.1f} s, before it was killed: not counted")
                continue
            number += 1
            duration = max(duration, took - moment)
            print(f"{number}/{options.count}: killed after {moment:.1f} s with {stored} runs stored; 12 runs ok")
    return 0


def kill_and_go_on(dataset: Path, results: Path, moment: float) -> int | None:
    """Kill a sweep after ``moment`` seconds, begin it again, check; return how many runs were stored at the kill.

    None if it came to its end before.
    """
    token = uuid.uuid4().hex
    process = begin(dataset, results, token)
    with contextlib.suppress(subprocess.TimeoutExpired):
        output, _ = process.communicate(timeout=moment)
        assert process.returncode == 0, output
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stored = {file: file.read_bytes() for file in (results / "runs").glob(f"*/{RECORD}")}
    none_left(token)
    process = begin(dataset, results, token)
    output, _ = process.communicate(timeout=_LIMIT)
    assert process.returncode == 0, output
    none_left(token)
    folders = sorted((results / "runs").iterdir())
    records = [read_record(folder) for folder in folders]
    assert len(folders) == JOBS, f"{len(folders)} folders in place of {JOBS}: {[folder.name for folder in folders]}"
    assert all(record is not None and record.status == "ok" for record in records), records
    assert len({record.arguments["n_features"] for record in records}) == JOBS
    for file, content in stored.items():
        assert file.read_bytes() == content, f"{file.parent.name} was made twice"
    assert not (left := list(results.glob("executing/*"))), left
    without = [folder.name for folder in folders if not (folder / NOTEBOOK).is_file()]
    assert not without, f"without an executed notebook: {without}"
    return len(stored)


def begin(dataset: Path, results: Path, token: str) -> subprocess.Popen:
    """Begin the sweep in a process group of its own."""
    file = results.with_suffix(".yaml")
    notebook = str(ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb")
    # Two groups of six, so that kernels are few.
    entries = [
        {
            "notebook": notebook,
            "parameters": {"seed": seed},
            "select": {"n_features": 20},
            "vary": {"n_features": [*range(first, first + JOBS // 2)]},
        }
        for seed, first in ((0, 5), (1, 5 + JOBS // 2))
    ]
    content = {"parameters": {"dataset": str(dataset)}, "notebooks": entries, "group": "backbone"}
    file.write_text(yaml.safe_dump(content))
    return subprocess.Popen(
        [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(results), "--jobs", "2"],
        cwd=ROOT,
        env={**os.environ, "SWEEP_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def none_left(token: str) -> None:
    """Wait until no process of a sweep is there, and fail if one stays."""
    begun = time.monotonic()
    deadline = begun + _PATIENCE
    while left := _processes(token):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.2)
    print(f"the last process was gone after {time.monotonic() - begun:.1f} s")


def _processes(token: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SWEEP_TOKEN") == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except psutil.Error:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())

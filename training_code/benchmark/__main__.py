"""Measure plain anomalib and this project side by side: ``python -m training_code.benchmark [--data DATASET]``."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from training_code.benchmark import measurements
from training_code.benchmark.report import draw_growth, table
from training_code.foundation import paths
from training_code.foundation.clock import now
from training_code.foundation.errors import InputError, choices, run_command, unknown
from training_code.foundation.files import write_json
from training_code.records.environment import describe_environment, git_commit


def main(arguments: list[str]) -> int:
    """Run the selected measurements, print and store them."""
    parser = argparse.ArgumentParser(prog="python -m training_code.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="textures", help="a folder in data/ or a path; textures by default")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"one or more of {choices(measurements.ALL)}")
    device = "-cuda" if torch.cuda.is_available() else ""
    output = paths.RESULTS / f"benchmark{device}.json"
    parser.add_argument("--output", type=Path, default=output, help="where the figures go")
    options = parser.parse_args(arguments)
    for name in options.only or []:
        if name not in measurements.ALL:
            raise unknown("measurement", name, measurements.ALL)
    chosen = options.only or list(measurements.ALL)
    if options.output.is_dir():
        raise InputError(f"{options.output} is a folder; valid: the name of a file")
    rows = _measured_before(options.output, options.data)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        bench = measurements.Bench(options.data, Path(scratch))
        for number, name in enumerate(chosen, 1):
            minutes = (time.perf_counter() - started) / 60
            print(f"[{number}/{len(chosen)}] {name} (after {minutes:.0f} min)", flush=True)
            found = measurements.ALL[name](bench)
            finished = now()
            rows[name] = found | {
                "finished": finished, "git_commit": git_commit(), "environment": describe_environment()
            }  # fmt: skip
            write_json(options.output, {"data": options.data, "measurements": rows})
    if "growth" in chosen:
        draw_growth(rows["growth"], options.output.with_name(f"growth{device}.png"))
    print(table(rows))
    print(f"stored in {paths.relative_to_home(options.output)}")
    return 0


def _measured_before(output: Path, data: str) -> dict[str, Any]:
    """Return what the file holds of the same images, on whichever machine; what is measured now replaces it."""
    try:
        content = json.loads(output.read_text(encoding="utf-8"))
        return content["measurements"] if content["data"] == data else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


if __name__ == "__main__":
    sys.exit(run_command(main))

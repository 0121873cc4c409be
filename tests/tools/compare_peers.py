"""Run the same grid with this project, with anomalib by hand and by its pipeline, and with imgad.

``make compare-peers`` makes the environment of imgad first. Every tool runs in processes of its own, without a network,
on the same images and weights. The figures go to
``results/peers.json``, and with ``--write`` the tables of ``docs/peers.md`` are made of them.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers import facts, page
from peers.grid import GRID, Grid, fill_hub
from peers.tools import Tool, package_folder, tools
from peers.watch import clean_environment, watch

from training_code.benchmark.images import copy_images
from training_code.foundation import paths
from training_code.foundation.clock import now
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.files import write_json
from training_code.records.environment import describe_hardware, git_commit

PAGE = paths.ROOT / "docs" / "peers.md"
#: The part of its own time after which each tool is killed.
KILLED_AFTER = 0.6
#: Of a tool in a round, until all its results are there.
ATTEMPTS = 3


def main(arguments: list[str]) -> int:
    """Compare, store the figures, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="textures", help="a folder in data/ or a path; textures by default")
    parser.add_argument("--images", type=int, default=45, help="for training (default: 45)")
    parser.add_argument("--configurations", type=int, default=len(GRID), help="so many of the grid (default: all)")
    parser.add_argument("--rounds", type=int, default=1, help="of all tools, for medians (default: 1)")
    parser.add_argument("--shared", action="store_true", help="say that other programs run at the same time")
    parser.add_argument("--output", type=Path, default=paths.ROOT / "results" / "peers.json")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/peers.md, too")
    parser.add_argument("--page-only", action="store_true", help="write the page from stored figures alone")
    options = parser.parse_args(arguments)
    if options.page_only:
        page.write(json.loads(options.output.read_text(encoding="utf-8")), PAGE)
        return 0
    if options.images < 2 or options.rounds < 1 or not 1 <= options.configurations <= len(GRID):
        raise InputError(f"valid: 2 or more images, 1 or more rounds, 1 to {len(GRID)} configurations")
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        figures = compare(options, Path(scratch))
    write_json(options.output, figures)
    print(page.tables(figures))
    if options.write:
        page.write(figures, PAGE)
    return 0


def compare(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Return the figures of all tools."""
    images = copy_images(options.data, options.images, scratch / "images")
    environment = clean_environment() | fill_hub(scratch / "hub")
    grid = GRID[: options.configurations]
    every = tools()
    # First: a line that is no longer there ends it at once.
    cited = facts.cited({tool.name: package_folder(tool.name) for tool in every})
    found: dict[str, dict[str, Any]] = {
        tool.name: {"packages": tool.packages, "seconds": [], "memory": 0, "broken": []} for tool in every
    }
    for number in range(options.rounds):
        for tool in every:  # each tool in turn, so that what else the machine does hits all of them
            _run(tool, scratch / f"{number}", images, grid, environment, found[tool.name])
    for tool in every:
        found[tool.name]["kill"] = _kill(tool, scratch / "killed", images, grid, environment, found[tool.name])
    return {
        "date": now()[:10],
        "git_commit": git_commit(),
        "data": options.data,
        "images": options.images,
        "test_images": sum(path.is_file() for path in (images / "test").rglob("*")),
        "grid": grid,
        "rounds": options.rounds,
        "shared_machine": options.shared,
        "machine": describe_hardware(),
        "tools": found,
        "facts": cited,
    }


def _run(
    tool: Tool, scratch: Path, images: Path, grid: Grid, environment: dict[str, str], found: dict[str, Any]
) -> None:
    """Run the grid once, and add what it took; a tool that breaks down is begun anew, which the page says."""
    for attempt in range(ATTEMPTS):
        place, variables = _prepared(tool, scratch / str(attempt), images, grid, environment)
        watched = watch(list(tool.command), place, variables)
        results = tool.results(place, grid)
        print(f"{tool.name}: {watched.seconds:.0f} s, {len(results)} of {len(grid)} results", flush=True)
        if not watched.status and len(results) == len(grid):
            found["seconds"].append(watched.seconds)
            found["memory"] = max(found["memory"], watched.memory)
            found["results"] = [results[number] for number in range(len(grid))]
            return
        broken = {"status": watched.status, "seconds": watched.seconds, "memory": watched.memory, "left": len(results)}
        found["broken"].append(broken)
    tail = (place / "output.txt").read_text(encoding="utf-8", errors="replace")[-3000:]
    raise InputError(f"{tool.name} ended with status {watched.status} and {len(results)} results: {tail}")


def _kill(
    tool: Tool, scratch: Path, images: Path, grid: Grid, environment: dict[str, str], found: dict[str, Any]
) -> dict[str, Any]:
    """Kill the tool in the middle, look what is left, and give the same command again."""
    place, variables = _prepared(tool, scratch, images, grid, environment)
    limit = KILLED_AFTER * statistics.median(found["seconds"])
    if watch(list(tool.command), place, variables, limit).status is not None:
        raise InputError(f"{tool.name} ended before it was killed after {limit:.0f} s: times vary too much")
    left = len(tool.results(place, grid))
    again = watch(list(tool.command), place, variables)
    complete = len(tool.results(place, grid))
    print(f"{tool.name}: killed after {limit:.0f} s, {left} results left, {again.seconds:.0f} s again", flush=True)
    return {"after": limit, "left": left, "again": again.seconds, "status": again.status, "complete": complete}


def _prepared(
    tool: Tool, scratch: Path, images: Path, grid: Grid, environment: dict[str, str]
) -> tuple[Path, dict[str, str]]:
    """Return a new folder with the input of the tool, and its variables."""
    place = scratch / tool.name.replace(" ", "-")
    place.mkdir(parents=True)
    tool.prepare(place, images, grid)
    # Only this project reads these: results in the folder, its code from here.
    own = {"ANOMALY_HOME": str(place / "home"), "PYTHONPATH": str(paths.ROOT)}
    return place, environment | own


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(run_command(main))

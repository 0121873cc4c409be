"""``python tests/tools/measure_station.py RUN IMAGES FOLDER``: a station under kills and full disks, counted.

Parts of two views come into an inbox in ``FOLDER`` at a steady rate, as copies of the photographs in ``IMAGES``. The
station is killed at random moments and started again. With ``--fill N`` the disk of ``FOLDER`` is filled completely
N times, for some seconds each: let it lie on a file system of its own, such as a tmpfs. In the end the counts are
compared: every part has one verdict, which is the one that its photographs give; no photograph is lost or changed;
totals are those of the files; a sink got every verdict once.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from inference_code.loading import load_predictor
from inference_code.station.ledger import Ledger
from inference_code.station.schema import LEDGER
from training_code.data.walk import find_images
from training_code.foundation import paths

# Seconds that the disk is full; and after the last photograph until the station has to be done.
FULL, PATIENCE = 4.0, 600


def main() -> int:
    """Run the script; the exit status is 1 if a count is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="id or folder of a run")
    parser.add_argument("images", type=Path)
    parser.add_argument("folder", type=Path, help="empty, or not there yet")
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=20.0, help="photographs a second")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--fill", type=int, default=0, help="how often the disk is filled")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    inbox, output, lines = (options.folder / name for name in ("inbox", "output", "lines.jsonl"))
    inbox.mkdir(parents=True)
    images = sorted(find_images(options.images))
    predictions = zip(images, load_predictor(options.run).predict(images), strict=True)
    abnormal = {path: bool(prediction.abnormal) for path, prediction in predictions}
    chosen = {(f"p{part:06d}", view): generator.choice(images) for part in range(options.parts) for view in (1, 2)}

    feeding = threading.Thread(target=feed, args=(inbox, chosen, options.rate, options.folder))
    command = [sys.executable, "-m", "inference_code.station", options.run, str(inbox), "--output", str(output)]
    command += ["--views", "2", "--part-timeout", "3600", "--sink", str(lines)]
    begun = time.monotonic()
    feeding.start()
    seconds = 2 * options.parts / options.rate
    moments = [(generator.uniform(0, seconds), "kill") for _ in range(options.kills)]
    moments += [(generator.uniform(0, seconds), "fill") for _ in range(options.fill)]
    process = start(command, options.folder)
    for moment, what in sorted(moments):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if what == "fill":
            fill(options.folder)
            continue
        process.kill()
        process.wait()
        process = start(command, options.folder)
    feeding.join()
    fed = time.monotonic()
    while time.monotonic() - fed < PATIENCE and sum(_totals(output).values()) < options.parts:
        time.sleep(0.2)
    caught_up = time.monotonic() - fed
    time.sleep(3)  # the last verdicts are written and sent
    process.terminate()
    status = process.wait()
    expected = Counter(
        "bad" if any(abnormal[chosen[f"p{part:06d}", view]] for view in (1, 2)) else "good"
        for part in range(options.parts)
    )
    wrong = count(output, lines, chosen, abnormal, expected)
    print(f"{options.parts} parts, {options.kills} kills, disk filled {options.fill} times: {dict(expected)}")
    print(f"{seconds:.0f} s of photographs, the last verdict {caught_up:.1f} s later, exit status {status}")
    for sentence in wrong:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def start(command: list[str], folder: Path) -> subprocess.Popen:
    """Start the station; what it says is appended to a file beside it, on another disk than its own."""
    log = open(folder.parent / f"{folder.name}.log", "ab")  # noqa: SIM115  # the process has it
    return subprocess.Popen(command, cwd=paths.ROOT, stdout=log, stderr=log)


def feed(inbox: Path, chosen: dict[tuple[str, int], Path], rate: float, folder: Path) -> None:
    """Copy photographs into the inbox at a rate; where the disk is full, again until there is room."""
    begun = time.monotonic()
    for number, ((part, view), path) in enumerate(chosen.items()):
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        hidden = inbox / f".{part}_{view}{path.suffix}"
        while True:
            try:
                shutil.copyfile(path, hidden)
                break
            except OSError:
                time.sleep(0.2)
        hidden.rename(inbox / hidden.name[1:])


def fill(folder: Path) -> None:
    """Fill the disk of a folder for a while."""
    balloon = folder / "balloon"
    try:
        with open(balloon, "wb", buffering=0) as file:
            while True:
                file.write(bytes(2**20))
    except OSError:
        pass
    deadline = time.monotonic() + FULL
    while time.monotonic() < deadline:  # what others free is taken, too
        try:
            with open(balloon, "ab", buffering=0) as file:
                file.write(bytes(2**12))
        except OSError:
            time.sleep(0.01)
    os.unlink(balloon)


def _totals(output: Path) -> dict[str, int]:
    if not (output / LEDGER).exists():
        return {}
    ledger = Ledger(output / LEDGER)
    try:
        return ledger.totals()
    finally:
        ledger.close()


def count(
    output: Path,
    lines: Path,
    chosen: dict[tuple[str, int], Path],
    abnormal: dict[Path, bool],
    expected: Counter[str],
) -> list[str]:
    """Return what is not as it should be."""
    wrong: list[str] = []
    hashes = {path: _hash(path) for path in abnormal}
    verdicts = [json.loads(path.read_text()) for path in output.glob("*/*/verdict.json")]
    times = Counter(verdict["part"] for verdict in verdicts)
    if times != {part: 1 for part, _ in chosen}:
        wrong.append(f"{sum(times.values())} verdicts of {len(times)} parts")
    if Counter(verdict["verdict"] for verdict in verdicts) != expected:
        wrong.append(f"verdicts are {Counter(verdict['verdict'] for verdict in verdicts)}, not {expected}")
    if {name: number for name, number in _totals(output).items() if number} != expected:
        wrong.append(f"the ledger says {_totals(output)}")
    kept = {}
    for path in output.glob("*/p*/p*_*"):
        part, _, view = path.stem.rpartition("_")
        kept[part, int(view)] = _hash(path)
    lost = [key for key, path in chosen.items() if kept.get(key) != hashes[path]]
    if lost or len(kept) != len(chosen):
        wrong.append(f"{len(lost)} photographs are lost or changed, such as {lost[:3]}; {len(kept)} are there")
    sent = [json.loads(line)["number"] for line in lines.read_text().splitlines()]
    if sent != list(range(1, len(times) + 1)):
        wrong.append(f"the sink has {len(sent)} lines, {len(set(sent))} different ones")
    return wrong


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())

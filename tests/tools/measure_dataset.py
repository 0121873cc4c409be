"""Measure how long `check_data` takes on IMAGES small images, the first time, again, and resumed after a kill.

``python tests/tools/measure_dataset.py [--images 100000] [--side 32] [--layout folder|list|shards] [--json FILE]``

The images are made in a temporary folder and removed afterwards. Memory is what the process and all its children have
together, looked at twenty times a second.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from helpers.shards import make_shards  # noqa: E402
from PIL import Image  # noqa: E402

from training_code.data.file_list import COLUMNS, LIST  # noqa: E402

ROOT = Path(__file__).parents[2]
LAYOUTS = ("folder", "list", "shards")
_PER_FOLDER = 0.6, 0.2, 0.1  # of good training and test images and of defects; each defect has a mask besides
_SHARD = 10_000  # images


@dataclass(frozen=True)
class Measured:
    """What one call of the command took."""

    seconds: float
    cpu_seconds: float
    peak_gib: float
    status: int  # negative where it was killed


def make_images(root: Path, count: int, side: int) -> Path:
    """Make so many files, masks included, in the MVTec layout: smooth noise, no two images alike."""
    generator = np.random.default_rng(0)
    train, good, defective = (round(part * count) for part in _PER_FOLDER)
    for kind, number in (("train/good", train), ("test/good", good), ("test/scratch", defective)):
        (root / kind).mkdir(parents=True)
        for index in range(number):
            small = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((side, side), Image.Resampling.BICUBIC).save(root / kind / f"{index:06d}.png")
    masks = root / "ground_truth" / "scratch"
    masks.mkdir(parents=True)
    for index in range(defective):
        mask = np.zeros((side, side), np.uint8)
        left = int(generator.integers(0, side - 8))
        mask[left : left + 4, left : left + 8] = 255
        Image.fromarray(mask).save(masks / f"{index:06d}_mask.png")
    return root


def write_list(folder: Path, root: Path) -> Path:
    """Write a list of the files of ``folder`` into ``root``."""
    root.mkdir()
    lines = [",".join(COLUMNS)]
    for path in sorted(folder.glob("t*/*/*.png")):
        split, defect = path.parts[-3:-1]
        mask = folder / "ground_truth" / defect / f"{path.stem}_mask.png"
        lines.append(f"{path},{split},{defect},{mask if defect != 'good' else ''}")
    (root / LIST).write_text("\n".join(lines) + "\n")
    return root


def check(root: Path, home: Path, kill_after: float = float("inf")) -> Measured:
    """Call the command on a dataset with the cache in ``home``; kill it after so many seconds."""
    command = [sys.executable, "-m", "training_code.check_data", str(root)]
    environment = os.environ | {"ANOMALY_HOME": str(home), "PYTHONPATH": str(ROOT)}
    began, peak, cpu = time.monotonic(), 0, 0.0
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in family))
                cpu = max(cpu, sum(sum(each.cpu_times()[:2]) for each in family))
            except psutil.Error:
                pass  # it has just ended
            if time.monotonic() - began > kill_after:
                process.kill()
            time.sleep(0.05)
    return Measured(time.monotonic() - began, cpu, peak / 2**30, process.returncode)


def measure(root: Path, homes: Path) -> dict[str, Measured]:
    """Return what the first call took, the second, one that was killed half way and one that resumed, and a last one.

    Before the last one a file is removed and another one is changed, if there are files outside of shards.
    """
    first = check(root, homes / "a")
    second = check(root, homes / "a")
    killed = check(root, homes / "b", first.seconds / 2)
    resumed = check(root, homes / "b")
    found = {"first": first, "second": second, "killed": killed, "resumed": resumed}
    if images := sorted((root / "train" / "good").glob("*.png")):
        images[0].unlink()
        Image.new("RGB", (32, 32), (9, 9, 9)).save(images[1])
        found["changed"] = check(root, homes / "a")
    return found


def main() -> int:
    """Measure and print; return 0 if the command found nothing wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--layout", choices=LAYOUTS, default="folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="measure-dataset-") as name:
        folder = make_images(Path(name, "folder"), options.images, options.side)
        if options.layout == "list":
            root = write_list(folder, Path(name, "list"))
        elif options.layout == "shards":
            root = make_shards(folder, Path(name, "shards"), _SHARD)
            shutil.rmtree(folder)
        else:
            root = folder
        found = measure(root, Path(name, "homes"))
    for stage, each in found.items():
        times = f"{each.seconds:7.1f} s  {each.cpu_seconds:7.1f} s of CPU"
        print(f"{stage:8}  {times}  {each.peak_gib:5.2f} GiB  status {each.status}")
    if options.json:
        options.json.write_text(json.dumps({stage: asdict(each) for stage, each in found.items()}, indent=2))
    return int(any(each.status for stage, each in found.items() if stage != "killed"))


if __name__ == "__main__":
    sys.exit(main())

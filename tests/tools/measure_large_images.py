"""``python tests/tools/measure_large_images.py FOLDER``: the memory that predicting large photographs takes.

Made photographs of noise, each with a small defect, are predicted by ``anomaly predict`` with a PatchCore that is cut
into tiles, overlays and masks included. The process that predicts does nothing else; its peak of resident memory is
measured, and what it takes before the first photograph.
"""

import argparse
import dataclasses
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "coreset_sampling_ratio": 0.05}
#: Where the defect begins, as parts of the side, and its side in pixels.
DEFECT, DEFECT_SIDE = (0.49, 0.735), 24


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for photographs, run and results")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--count", type=int, default=1, help="photographs (default: 1)")
    parser.add_argument("--format", default="png", choices=["png", "jpg"])
    parser.add_argument("--predict", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.predict:
        return predict(options.folder)
    prepare(options)
    command = [sys.executable, __file__, str(options.folder), "--predict"]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


def photograph(path: Path, side: int, seed: int, defect: bool) -> None:
    """Write a photograph of noise in color."""
    generator = np.random.default_rng(seed)
    pixels = np.empty((side, side, 3), np.uint8)
    for row in pixels:
        row[:] = generator.normal(120, 6, (side, 1))
    if defect:
        top, left = (int(part * side) for part in DEFECT)
        pixels[top : top + DEFECT_SIDE, left : left + DEFECT_SIDE] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"compress_level": 1} if path.suffix == ".png" else {"quality": 95}))


def prepare(options: argparse.Namespace) -> None:
    """Make the photographs, and a run for them.

    A detector that compares patches, not positions, is the same for images of any size: it is trained on images that
    are a little larger than a tile, and told of the size afterwards.
    """
    # Here, since the process that predicts is to import no more than the command does.
    from training_code.experiment import Experiment
    from training_code.records.reading import read_record, write_record

    folder = options.folder
    for name in ("images", "dataset", "results", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for number in range(options.count):
        photograph(folder / "images" / f"{number}.{options.format}", options.side, number, defect=True)
    small = options.tile + options.overlap
    for number in range(6):
        photograph(folder / "dataset" / "normal" / f"{number}.png", small, 100 + number, defect=False)
    tiling = {"tile": options.tile, "overlap": options.overlap}
    experiment = Experiment(folder / "dataset", image_size=small, results=folder / "results", tiling=tiling)
    run = experiment.run("Patchcore", **BACKBONE)
    record = read_record(run.folder)
    assert record is not None
    protocol = dataclasses.replace(record.identity.protocol, image_size=(options.side, options.side))
    identity = dataclasses.replace(record.identity, protocol=protocol)
    write_record(run.folder, dataclasses.replace(record, identity=identity))
    (folder / "run").write_text(str(run.folder))


def predict(folder: Path) -> int:
    """Predict the photographs as the command does, and print what it took."""
    # Here, as in `prepare`.
    from inference_code.loading import load_predictor
    from inference_code.predict import main as command

    run = (folder / "run").read_text()
    load_predictor(run)
    before, start = _peak(), time.monotonic()
    status = command([run, str(folder / "images"), "--output", str(folder / "out")])
    peak = _peak()
    print(f"seconds: {time.monotonic() - start:.0f}")
    print(f"GiB before: {before:.2f}")
    print(f"GiB at most: {peak:.2f}")
    print(f"GiB of a photograph: {peak - before:.2f}")
    return status


def _peak() -> float:
    """Return the peak of resident memory of this program so far, in GiB.

    Not what ``getrusage`` says, in which that of the process which started it counts, too.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


if __name__ == "__main__":
    sys.exit(main())

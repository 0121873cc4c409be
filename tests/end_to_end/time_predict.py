"""``python tests/end_to_end/time_predict.py RUN SOURCE``: images per second, beside anomalib's ``Engine.predict``.

SOURCE is a folder of images; it is filled up with mirrored ones to the number that is asked for. Both sides predict and
write pictures, as they do when nothing is said: this project the overlay and the mask, anomalib its visualization.
Both are timed in fresh processes, the imports left out: they take turns, and medians are compared. Then each runtime of
this project is timed without pictures.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
# What is at least wanted of the ratio.
LIMIT = 3.0


def main() -> int:
    """Run the script; the exit status is 1 if the project is not `LIMIT` times as fast."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("source", type=Path)
    parser.add_argument("--count", type=int, default=500, help="images (default: 500)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians are taken (default: 3)")
    parser.add_argument("--side", choices=["here", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "plain":
        return time_plain(options.run, options.checkpoint, options.source)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = fill(options.source, folder / "images", options.count)
        for format in ("onnx", "openvino", "anomalib"):
            _call("-m", "inference_code.export", options.run, "--format", format, "--output", folder / format)
        seconds: dict[str, list[float]] = {"plain": [], "here": []}
        for round in range(options.rounds):
            plain = [
                __file__,
                options.run,
                images,
                "--side",
                "plain",
                "--checkpoint",
                folder / "anomalib" / "model.ckpt",
            ]
            seconds["plain"].append(float(_call(*plain).splitlines()[-1]))
            seconds["here"].append(_predict(options.run, images, folder / "out"))
            print(
                f"round {round + 1}: plain {seconds['plain'][-1]:.1f} s, here {seconds['here'][-1]:.1f} s", flush=True
            )
        medians = {side: statistics.median(values) for side, values in seconds.items()}
        ratio = medians["plain"] / medians["here"]
        rates = ", ".join(f"{side} {options.count / median:.1f} images/s" for side, median in medians.items())
        print(f"{options.count} images: {rates}, ratio {ratio:.1f}")
        for runtime in ("torch", "onnx", "openvino"):
            run = options.run if runtime == "torch" else folder / runtime
            times = [
                _predict(run, images, folder / "out", "--runtime", runtime, "--no-pictures")
                for _ in range(options.rounds)
            ]
            print(f"{runtime}, no pictures: {options.count / statistics.median(times):.1f} images/s", flush=True)
    return 0 if ratio >= LIMIT else 1


def fill(source: Path, folder: Path, count: int) -> Path:
    """Copy images into a folder, once more mirrored where there are too few; return it."""
    files = sorted(path for path in source.rglob("*") if path.suffix in (".png", ".jpg"))
    folder.mkdir()
    for number in range(count):
        path, times = files[number % len(files)], number // len(files)
        target = folder / f"{number:04d}{path.suffix}"
        if not times:
            shutil.copy(path, target)
            continue
        image = Image.open(path)
        image = ImageOps.mirror(image) if times % 2 else image
        (ImageOps.flip(image) if times // 2 % 2 else image).save(target)
    return folder


def time_plain(run: Path, checkpoint: Path, images: Path) -> int:
    """Print how long anomalib takes, from its checkpoint to its pictures."""
    from anomalib import models
    from anomalib.data import PredictDataset
    from anomalib.engine import Engine

    record = json.loads((run / "run.json").read_text())["identity"]
    with tempfile.TemporaryDirectory() as output:
        begun = time.perf_counter()
        model = getattr(models, record["detector"]).load_from_checkpoint(checkpoint, map_location="cpu")
        dataset = PredictDataset(images, image_size=tuple(record["image_size"]))
        engine = Engine(default_root_dir=output, accelerator="cpu", logger=False)
        found = engine.predict(model=model, dataset=dataset)
        seconds = time.perf_counter() - begun
        pictures = [path for path in Path(output).rglob("*") if path.suffix in (".png", ".jpg")]
        assert sum(len(batch.image_path) for batch in found) == len(dataset) == len(pictures), len(pictures)
    print(seconds)
    return 0


_HERE = """
import sys, time
from inference_code import following, loading, output, predict, thresholds
from inference_code.sources import opening
begun = time.perf_counter()
status = predict.main(sys.argv[1:])
print(time.perf_counter() - begun)
sys.exit(status)
"""


def _predict(run: Path, images: Path, output: Path, *options: str) -> float:
    shutil.rmtree(output, ignore_errors=True)
    return float(_call("-c", _HERE, run, images, "--output", output, *options).splitlines()[-1])


def _call(*arguments: object) -> str:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())

"""``python tests/tools/measure_scale.py OUT.jsonl DATASET --detector JSON...``: what runs need as datasets grow.

Each detector is trained and tested with each number of training images at each size, in a process of its own with a
home of its own, so that nothing is shared with another run. A line is appended to ``OUT.jsonl`` as each one ends:
seconds by stage, seconds of processors, peak memory, peak of what lay on disk, image AUROC. For instance::

    python tests/tools/measure_scale.py scale.jsonl data/elpv --images 325 650 1300 --image-size 256 512
        --memory-limit 8 --detector '{"detector": "Patchcore", "backbone": "wide_resnet50_2", "pre_trained": false,
        "coreset_sampling_ratio": 0.01}' '{"detector": "Padim", "backbone": "efficientnet_lite0"}'

Where a dataset has fewer good images than are asked for, its images are used again, turned and mirrored: such lines
are about time, memory and disk, and say so in ``copies``. ``--backbone`` adds the seconds of a pass of the backbone
alone, in another process. With ``--fit-only`` there are neither thresholds nor tests, which take hours where many
patches are compared with a large coreset. Memory is given twice: ``resident`` is the peak of all that lay in memory,
with the files that are mapped into it, which the system may drop; ``anonymous`` is the peak of the rest, looked at ten
times a second.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.components import AnomalibModule
from PIL import Image

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.data.layout import NORMAL, Sample
from training_code.detectors.build import feature_extractor, image_transform
from training_code.evaluation.measurement import peak_memory, reset_peak_memory
from training_code.experiment import Experiment
from training_code.features.runtime import processor
from training_code.foundation import paths
from training_code.foundation.cache import TensorCache
from training_code.foundation.memory import available_memory
from training_code.pipeline import Places, build, feature_store, fit, prepare_data
from training_code.preparation import Conditions, PreparedRun

# Seconds between two looks at memory, and at the disk.
LOOK, LOOK_AT_DISK = 0.1, 1.0
#: How an image is turned or mirrored: its copies that are not the image itself.
TURNS = tuple(Image.Transpose)
RESULT = "measured.json"


def main() -> int:
    """Run the script: every measurement as a process, whose line is appended when it ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="lines are appended")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--detector", nargs="+", type=json.loads, required=True, help="name and arguments as JSON")
    parser.add_argument("--image-size", nargs="+", type=int, default=[256])
    parser.add_argument("--images", nargs="+", type=int, required=True, help="good images to train on")
    parser.add_argument("--memory-limit", type=float, help="GiB (default: as for every run)")
    parser.add_argument("--tested", type=int, help="good images to test on, and as many defective ones (default: all)")
    parser.add_argument("--compute", type=json.loads, default={}, help="further options of an experiment as JSON")
    parser.add_argument("--backbone", action="store_true", help="measure a pass of the backbone alone, too")
    parser.add_argument("--fit-only", action="store_true", help="train, and neither choose thresholds nor test")
    parser.add_argument("--shared", action="store_true", help="say that other programs run at the same time")
    parser.add_argument("--scratch", type=Path, help="folder for what runs write (default: that of the system)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options)
        return 0
    if options.scratch:
        options.scratch.mkdir(parents=True, exist_ok=True)
    failed = 0
    for images in options.images:
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            dataset = Path(scratch) / options.dataset.name
            copies = make_part(options.dataset, dataset, images, options.tested, options.seed)
            for size, detector in itertools.product(options.image_size, options.detector):
                line = {"dataset": dataset.name, "images": images, "copies": copies, "image_size": size}
                line |= {"detector": detector, "memory_limit": options.memory_limit, **options.compute}
                line |= {"shared": True} if options.shared else {}
                line |= run_apart(options, dataset, size, detector)
                failed += "error" in line
                with open(options.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    return int(failed > 0)


def make_part(source: Path, target: Path, images: int, tested: int | None, seed: int) -> int:
    """Make a dataset with so many images to train on; return how many of these are copies of others."""
    samples = read_dataset(source).samples
    generator = np.random.default_rng(seed)

    def drawn(chosen: list[Sample], most: int | None) -> list[Sample]:
        return [chosen[index] for index in generator.permutation(len(chosen))[:most]]

    train = drawn([each for each in samples if each.split == "train"], images)
    tests = [each for each in samples if each.split == "test"]
    tests = [one for bad in (False, True) for one in drawn([each for each in tests if each.abnormal is bad], tested)]
    for number, sample in enumerate([*train, *tests]):
        name = f"{number:06d}{sample.path.suffix}"
        _link(sample.path, target / sample.split / sample.defect_type / name)
        if sample.mask:
            _link(sample.mask, target / "ground_truth" / sample.defect_type / f"{number:06d}_mask{sample.mask.suffix}")
    copies = itertools.islice(itertools.product(TURNS, train), images - len(train))
    number = 0
    for number, (turn, sample) in enumerate(copies, 1):
        with Image.open(sample.path) as image:
            image.transpose(turn).save(target / "train" / NORMAL / f"copy_{number:06d}.png", compress_level=1)
    if len(train) + number < images:
        raise SystemExit(f"{source} has {len(train)} images to train on: at most {8 * len(train)} with their copies")
    return number


def _link(path: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(path.resolve())


def run_apart(options: argparse.Namespace, dataset: Path, size: int, detector: dict[str, Any]) -> dict[str, Any]:
    """Measure one detector in a process of its own, or in two; return what belongs into its line."""
    given = ["--image-size", str(size), "--images", "0", "--detector", json.dumps(detector)]
    given += ["--seed", str(options.seed), "--compute", json.dumps(options.compute)]
    given += ["--fit-only"] if options.fit_only else []
    given += [] if options.memory_limit is None else ["--memory-limit", str(options.memory_limit)]
    line: dict[str, Any] = {}
    for backbone in [False, True][: 1 + options.backbone]:
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            home = Path(scratch)
            (home / "weights").symlink_to(paths.WEIGHTS)
            (home / "tmp").mkdir()
            command = [sys.executable, __file__, str(options.out), str(dataset), *given, "--child", str(home)]
            environment = {**os.environ, paths.HOME_VARIABLE: str(home), "TMPDIR": str(home / "tmp")}
            begun = time.perf_counter()
            process = subprocess.Popen([*command, *(["--backbone"] if backbone else [])], env=environment)
            anonymous, disk = _watch(process, home)
            result = home / RESULT
            found = json.loads(result.read_text()) if result.is_file() else {}
            if process.returncode:
                found = {"error": f"ended with status {process.returncode}"}
            if backbone:
                line["seconds"] = line.get("seconds", {}) | found.get("seconds", {})
                line["processor_of_backbone"] = found.get("processor")
                continue
            found["peak"] = {**found.get("peak", {}), "anonymous": anonymous}
            found["disk"] = {**found.get("disk", {}), "peak": disk}
            line |= found | {"wall": time.perf_counter() - begun}
    cores = len(os.sched_getaffinity(0))
    machine = {"processor": processor(), "cores": cores, "memory": available_memory(), "system": platform.platform()}
    return line | {"machine": machine}


def _watch(process: subprocess.Popen, home: Path) -> tuple[int, int]:
    """Wait for a process; return the peaks of its memory without files, and of its files, in bytes."""
    anonymous = disk = 0
    next_look = time.monotonic()
    while process.poll() is None:
        anonymous = max(anonymous, sum(_of_status(process.pid, ("RssAnon", "RssShmem"))))
        if time.monotonic() >= next_look:
            disk = max(disk, _size(home) + sum(_deleted(process.pid)))
            next_look = time.monotonic() + LOOK_AT_DISK
        time.sleep(LOOK)
    return anonymous, max(disk, _size(home))


def _of_status(pid: int, names: tuple[str, ...]) -> Iterator[int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return
    yield from (int(line.split()[1]) * 1024 for line in lines if line.startswith(names))


def _size(folder: Path) -> int:
    """Return the bytes on disk of the files below a folder; others may be removing some of them."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _deleted(pid: int) -> Iterator[int]:
    """Yield the bytes on disk of files without a name that a process has open."""
    try:
        entries = [*os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return
    seen = set()
    for entry in entries:
        try:
            status = os.stat(entry.path)
        except OSError:
            continue
        if not status.st_nlink and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield status.st_blocks * 512


def measure(options: argparse.Namespace) -> None:
    """Do what a process of its own is started for, and write what it found."""
    (size,), (detector,) = options.image_size, options.detector
    arguments = dict(detector)
    name = arguments.pop("detector")
    begun = time.perf_counter()
    compute = {**options.compute, **({} if options.memory_limit is None else {"memory_limit": options.memory_limit})}
    experiment = Experiment(options.dataset, image_size=size, seed=options.seed, results="results", **compute)
    seconds = {"check": time.perf_counter() - begun}
    found: dict[str, Any]
    if options.backbone:
        found = {"seconds": {"backbone": pass_of_backbone(experiment, name, arguments)}}
    elif options.fit_only:
        found = fit_alone(experiment, name, arguments)
    else:
        run = experiment.run(name, **arguments)
        record = run.record
        seconds |= {stage: value for stage, value in record.times.items() if stage != "latency"}
        found = {
            "seconds": seconds,
            "latency": record.times.get("latency"),
            "peak": {"resident": record.memory["host"]},
        }
        found |= {metric: run.metrics[metric] for metric in ("image_AUROC", "pixel_AUROC") if metric in run.metrics}
        found["disk"] = {"checkpoint": record.checkpoint.bytes}
        stored = json.loads((run.folder / "run.json").read_text())
        found |= {"training": stored["training"], "features": stored["features"], "counts": stored["dataset"]["counts"]}
    found["processor"] = sum(os.times()[:4])
    (options.child / RESULT).write_text(json.dumps(found))


def pass_of_backbone(experiment: Experiment, name: str, arguments: dict[str, Any]) -> float:
    """Return the seconds in which the training images are decoded and pass through the backbone, and nothing else."""
    detector, data, *_ = _built(experiment, name, arguments, None)
    extractor, transform = feature_extractor(detector), image_transform(detector)
    assert extractor is not None, f"{name} has no backbone"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector.to(device).eval()
    begun = time.perf_counter()
    with torch.inference_mode():
        for batch in data.train_dataloader():
            extractor(transform(batch.image.to(device)))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def fit_alone(experiment: Experiment, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Train as a run does, and return what the record would keep of that."""
    reset_peak_memory()
    detector, data, prepared, conditions = _built(experiment, name, arguments, TensorCache())
    with tempfile.TemporaryDirectory() as folder:
        trained = fit(detector, prepared, conditions, data, Places(Path(folder)))
    return {"seconds": trained.seconds, "peak": {"resident": peak_memory()["host"]}, "training": trained.training}


def _built(
    experiment: Experiment, name: str, arguments: dict[str, Any], cache: TensorCache | None
) -> tuple[AnomalibModule, SampleDataModule, PreparedRun, Conditions]:
    """Return a detector that is to be trained, and its images, as a run has them."""
    prepared = experiment.prepare(name, arguments)
    conditions = replace(experiment.conditions, compute=prepared.within(experiment.compute))
    data = prepare_data(conditions, prepared.batch_size, cache, not prepared.leaves_out)
    store = None if cache is None else feature_store(prepared.configuration, conditions, cache)
    return build(prepared, conditions, store), data, prepared, conditions


if __name__ == "__main__":
    sys.exit(main())

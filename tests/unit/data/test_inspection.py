import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image as read_as_anomalib
from helpers.data import make_mvtec, save, texture
from PIL import Image
from torchvision.transforms.v2 import Resize

from training_code.data import inspection
from training_code.data.dataset import examine, read_dataset
from training_code.data.images import read_image
from training_code.data.report import areas_table, defect_areas
from training_code.data.resizing import load_image
from training_code.foundation import paths


@pytest.fixture
def reads(monkeypatch):
    """The files that were read, in order."""
    read, original = [], inspection.inspect_file

    def inspect_file(path, *arguments):
        read.append(path.name)
        return original(path, *arguments)

    monkeypatch.setattr(inspection, "inspect_file", inspect_file)
    return read


def test_the_second_time_only_what_changed_is_read(tmp_path, reads):
    root = make_mvtec(tmp_path / "d")
    first = read_dataset(root)
    assert len(reads) == 12 + 6 + 2 * 8
    reads.clear()
    assert read_dataset(root).fingerprint == first.fingerprint and reads == []
    save(root / "train" / "good" / "003.png", texture(np.random.default_rng(9)))
    assert read_dataset(root).fingerprint != first.fingerprint and reads == ["003.png"]


def test_the_fingerprint_does_not_depend_on_path_and_times(tmp_path):
    root = make_mvtec(tmp_path / "d")
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.png"):
        os.utime(path, (0, 0))
    assert read_dataset(tmp_path / "copy").fingerprint == read_dataset(root).fingerprint


@pytest.mark.parametrize("damage", ["", "{", '{"version": 1, "facts": {"a": [1]}}', '{"version": 0}', "[]"])
def test_a_damaged_cache_costs_time_and_nothing_else(tmp_path, damage):
    root = make_mvtec(tmp_path / "d")
    before = read_dataset(root)
    (kept,) = [path for path in paths.CACHE.glob("*.json") if str(root) in path.read_text()]
    kept.write_text(damage)
    assert read_dataset(root).fingerprint == before.fingerprint


def test_a_cache_that_cannot_be_written_is_not_needed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(paths, "CACHE", tmp_path / "file" / "cache")
    assert read_dataset(make_mvtec(tmp_path / "d")).counts["train/good"] == 12


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pixels_are_anomalibs_to_the_bit(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (75, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "x.png")
    theirs = Resize((32, 40), antialias=True)(read_as_anomalib(tmp_path / "x.png", as_tensor=True))
    assert torch.equal(load_image(tmp_path / "x.png", (32, 40)), theirs)


def test_sixteen_bit_tiff_of_an_electron_microscope_is_read_in_full_precision(tmp_path):
    values = np.linspace(0, 16383, 48 * 48).astype(np.uint16).reshape(48, 48)
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert np.allclose(read_image(tmp_path / "x.tif", bits=14)[..., 0], values / 16383, atol=1e-7)


MEASURE = """
import resource, sys
from pathlib import Path
from training_code.data.resizing import load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = load_image(Path(sys.argv[1]), (16, 16))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, *image[:, 3, 3].tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "color"),
    [
        (Image.new("RGB", (8192, 8192), (255, 0, 128)), (1.0, 0.0, 128 / 255)),
        (Image.new("I;16", (8192, 8192)), (0, 0, 0)),
    ],
    ids=["RGB", "16 bits"],
)
def test_an_image_of_8192_by_8192_does_not_exhaust_memory(tmp_path, image, color):
    image.save(tmp_path / "x.tif")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "x.tif")]
    result = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert [float(value) for value in result[1:]] == pytest.approx(color, abs=1e-3)
    # All three channels as float32 alone are 768 MiB.
    assert float(result[0]) < 1100


def test_areas_of_defects_by_type(tmp_path):
    # make_mvtec draws squares of 12 × 12 and bars of 12 × 4 pixels in images of 48 × 48.
    dataset = examine(make_mvtec(tmp_path / "d"))
    table = areas_table(dataset)
    assert table.loc["square", ["masks", "mean"]].tolist() == [4, pytest.approx(100 * 144 / 2304)]
    assert table.loc["bar", "mean"] == pytest.approx(100 * 48 / 2304) and table.loc["bar", "standard deviation"] == 0
    assert len(defect_areas(dataset)) == 8


def test_a_test_image_that_is_a_training_image_compressed_again_is_its_sibling_and_others_are_not(tmp_path):
    root = make_mvtec(tmp_path / "d")
    smooth = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8)
    save(root / "train" / "good" / "smooth.png", smooth)
    Image.fromarray(smooth).resize((96, 96), Image.Resampling.BICUBIC).save(
        root / "test" / "good" / "again.jpg", quality=90
    )
    (finding,) = examine(root).findings
    assert (finding.kind, finding.path.name, finding.other.name) == ("sibling", "again.jpg", "smooth.png")
    assert finding.what == "is one of 1 of 7 good test images that show a part which is trained on"

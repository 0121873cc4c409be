import cProfile
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image as read_as_anomalib
from helpers.data import make_mvtec, save, texture
from PIL import Image
from torchvision.transforms.v2 import Resize

from training_code.data import facts, inspection
from training_code.data.dataset import examine, read_dataset
from training_code.data.images import read_image
from training_code.data.report import areas_table, defect_areas, report
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


def _calls_of_second_check(root, images):
    """Return how many functions are called when a dataset is checked whose files are known."""
    make_mvtec(root, train=images)
    report(examine(root))
    profile = cProfile.Profile()
    profile.runcall(lambda: report(examine(root)))
    return sum(entry.callcount for entry in profile.getstats())


def test_a_file_that_is_known_costs_few_calls(tmp_path):
    """100,000 files are checked again in less than 10 s; calls are counted, since seconds depend on the machine."""
    few, more = (_calls_of_second_check(tmp_path / str(images), images) for images in (50, 250))
    assert (more - few) / 200 < 240, (few, more)


def test_the_fingerprint_does_not_depend_on_path_and_times(tmp_path):
    root = make_mvtec(tmp_path / "d")
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.png"):
        os.utime(path, (0, 0))
    assert read_dataset(tmp_path / "copy").fingerprint == read_dataset(root).fingerprint


def _index(root):
    """Return the index of a dataset's files."""
    return inspection._file(root)


@pytest.mark.parametrize("damage", ["emptied", "text", "cut", "overwritten", "another version", "another table"])
def test_a_damaged_index_costs_time_and_nothing_else(tmp_path, reads, damage):
    root = make_mvtec(tmp_path / "d")
    before = read_dataset(root)
    index = _index(root)
    content = index.read_bytes()
    if damage.startswith("another"):
        with closing(sqlite3.connect(index)) as database, database:
            database.execute("PRAGMA user_version = 1" if damage == "another version" else "DROP TABLE files")
    else:
        damaged = {"emptied": b"", "text": b"hello", "cut": content[:5000], "overwritten": b"?" * len(content)}
        index.write_bytes(damaged[damage])
    for _ in range(2):
        reads.clear()
        assert read_dataset(root).fingerprint == before.fingerprint
    assert reads == [] or damage == "another table", "the index is written again"


@pytest.mark.parametrize("lost", [False, True])
def test_pairs_that_look_alike_are_found_by_kept_thumbnails_and_without_them(tmp_path, reads, lost):
    root = make_mvtec(tmp_path / "d", good=0)
    image = np.array(Image.open(root / "train" / "good" / "000.png"))
    save(root / "test" / "good" / "brighter.png", np.minimum(image, 250) + 2)
    before = examine(root)
    shutil.rmtree(paths.CACHE / "alike")  # so that they are looked for again
    if lost:
        with closing(sqlite3.connect(_index(root))) as database, database:
            database.execute("DELETE FROM thumbnails")
    reads.clear()
    assert len(before.alike) > 0 and examine(root).alike == before.alike
    assert len(reads) == (len(before.samples) if lost else 0)


def test_what_was_read_before_a_kill_is_not_read_again(tmp_path, reads, monkeypatch):
    root = make_mvtec(tmp_path / "d")
    monkeypatch.setattr(facts, "_SECONDS", 0)
    child = os.fork()
    if child == 0:
        inspect_file = inspection.inspect_file

        def slowly(*arguments):
            time.sleep(0.01)
            return inspect_file(*arguments) if len(reads) < 24 else os._exit(9)

        monkeypatch.setattr(inspection, "_BATCH", 1)
        monkeypatch.setattr(inspection, "inspect_file", slowly)
        examine(root)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    with closing(sqlite3.connect(_index(root))) as database:
        ((kept,),) = database.execute("SELECT count(*) FROM files")
    assert 0 < kept < 34
    assert examine(root).counts["train/good"] == 12 and len(reads) == 34 - kept
    reads.clear()
    assert examine(root).counts["train/good"] == 12 and reads == []


def test_an_added_and_a_removed_file_are_noticed_and_no_other_one_is_read_again(tmp_path, reads):
    root = make_mvtec(tmp_path / "d")
    before = examine(root)
    reads.clear()
    save(root / "train" / "good" / "new.png", texture(np.random.default_rng(7)))
    assert examine(root).counts["train/good"] == 13 and reads == ["new.png"]
    (root / "train" / "good" / "new.png").unlink()
    reads.clear()
    assert examine(root).fingerprint == before.fingerprint and reads == []


def test_an_interrupted_check_ends_at_once_and_not_with_the_last_file(tmp_path, reads, monkeypatch):
    root = make_mvtec(tmp_path / "d", train=400)

    class Interrupted:
        def __init__(self, files, **_):
            self.files = files

        def __iter__(self):
            yield next(iter(self.files))
            raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "tqdm", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        examine(root)
    assert len(reads) < 300


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

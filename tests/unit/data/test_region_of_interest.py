"""The region of a dataset that is looked at: read from a picture or polygons, and what the check says of it."""

import json
import shutil

import numpy as np
import pytest
from helpers.data import SIZE, save

from training_code.data.dataset import examine, read_dataset
from training_code.data.region_of_interest import RegionOfInterest, read_region
from training_code.foundation.errors import InputError
from training_code.preparation import read_conditions

LEFT_HALF = {"size": [SIZE, SIZE], "polygons": [[[0, 0], [SIZE // 2, 0], [SIZE // 2, SIZE], [0, SIZE]]]}


def _half():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, : SIZE // 2] = 255
    return mask


@pytest.fixture
def dataset(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "tiny")


def test_a_picture_and_polygons_say_the_same_to_the_pixel(tmp_path):
    (tmp_path / "region.json").write_text(json.dumps(LEFT_HALF))
    drawn, _ = read_region(tmp_path)
    (tmp_path / "region.json").unlink()
    save(tmp_path / "region.png", _half())
    painted, findings = read_region(tmp_path)
    assert np.array_equal(drawn.mask, _half() > 0) and np.array_equal(painted.mask, drawn.mask) and not findings
    assert drawn.sha256 == painted.sha256
    assert read_region(tmp_path / "elsewhere") == (None, [])


def test_a_region_is_scaled_to_each_photograph():
    region = RegionOfInterest(_half() > 0)
    found = region.at((100, 40))
    assert found[:, :20].all() and not found[:, 20:].any()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no region"),
        ({"size": [4, 4]}, "is no region ('polygons')"),
        (LEFT_HALF | {"polygons": [[[0, 0], [1, 1]]]}, "polygons are not lists of three or more corners"),
        (LEFT_HALF | {"polygons": []}, "polygons are not lists of three or more corners"),
        (LEFT_HALF | {"polygons": [[[60, 0], [70, 0], [70, 9]]]}, "nothing is left to look at"),
        (LEFT_HALF | {"size": [10**6, 10**6]}, "the largest image that is read is 8192 × 8192"),
    ],
)
def test_a_wrong_region_refuses_the_dataset(dataset, content, words):
    (dataset / "region.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError) as found:
        read_dataset(dataset)
    assert "region.json" in str(found.value) and words in str(found.value)


def test_a_black_picture_and_two_files_are_refused(dataset):
    save(dataset / "region.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"region.png is black: it leaves nothing to look at"):
        read_dataset(dataset)
    (dataset / "region.json").write_text(json.dumps(LEFT_HALF))
    with pytest.raises(InputError, match=r"region.json stands beside region.png: keep one of the two"):
        read_dataset(dataset)


def test_a_region_is_part_of_the_fingerprint_and_no_unread_image(dataset):
    before = read_dataset(dataset)
    save(dataset / "region.png", _half())
    examined = examine(dataset)
    assert examined.region is not None and examined.fingerprint != before.fingerprint
    assert {finding.kind for finding in examined.findings} <= {"defect outside", *(f.kind for f in before.findings)}
    save(dataset / "region.png", np.full((SIZE, SIZE), 255, np.uint8) - _half())
    assert examine(dataset).fingerprint not in (examined.fingerprint, before.fingerprint)
    (dataset / "region.png").unlink()
    assert read_dataset(dataset).fingerprint == before.fingerprint


def test_defects_of_which_nothing_is_looked_at_are_told_with_their_number(dataset):
    for kind, left in (("square", 30), ("bar", 1)):
        for index in range(4):
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[10:20, left : left + 10] = 255
            save(dataset / "ground_truth" / kind / f"{index:03d}_mask.png", mask)
    save(dataset / "region.png", _half())
    notes = [note.message for note in read_dataset(dataset).notes if note.kind == "defect outside"]
    assert len(notes) == 1 and notes[0].startswith("test/square/000.png shows a defect that lies wholly outside")
    assert notes[0].endswith("(and 3 others)")
    (dataset / "region.png").unlink()
    cut = [note.message for note in read_conditions(dataset, image_size=64, center_crop=32).dataset.notes]
    assert any("test/bar/000.png shows a defect that lies wholly outside" in message for message in cut)
    assert not any(
        "wholly outside" in note.message for note in read_conditions(dataset, resize="letterbox").dataset.notes
    )


def test_a_region_is_kept_as_run_lengths_and_damaged_ones_are_refused():
    region = RegionOfInterest(_half() > 0)
    counts = region.run_lengths()
    assert np.array_equal(RegionOfInterest.from_run_lengths(counts, (SIZE, SIZE)).mask, region.mask)
    for wrong, size in ((counts[:-1], (SIZE, SIZE)), ([-1, *counts], (SIZE, SIZE)), ([10**12], (10**6, 10**6))):
        with pytest.raises(ValueError, match="the region is damaged"):
            RegionOfInterest.from_run_lengths(wrong, size)
    with pytest.raises(ValueError, match="nothing is left to look at"):
        RegionOfInterest.from_run_lengths([SIZE * SIZE], (SIZE, SIZE))

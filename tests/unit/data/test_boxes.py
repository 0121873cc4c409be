"""Types of defects by place, for images that show several."""

from pathlib import Path

import numpy as np
import pytest
from helpers.data import save, texture

from training_code.data.boxes import Box, read_boxes, typed_regions, write_boxes
from training_code.data.dataset import examine, read_dataset
from training_code.data.regions import find_regions
from training_code.evaluation.metrics import rank_by_defect_type
from training_code.evaluation.predictions import Predictions
from training_code.foundation.errors import InputError

BOXES = (Box("short", 0, 0, 8, 8), Box("open", 16, 24, 8, 8))


def test_boxes_are_read_as_they_were_written_and_make_another_dataset(tmp_path):
    generator = np.random.default_rng(2)
    save(tmp_path / "train" / "good" / "a.png", texture(generator))
    image = save(tmp_path / "test" / "mixed" / "b.png", texture(generator))
    save(tmp_path / "ground_truth" / "mixed" / "b.png", np.eye(48, dtype=np.uint8) * 255)
    before = examine(tmp_path)
    assert find_regions(before, [image], np.ones((1, 48, 48), bool)) is None
    write_boxes(tmp_path, [(image, box) for box in BOXES])
    assert read_boxes(tmp_path, [image]) == {image: BOXES}
    dataset = read_dataset(tmp_path)
    assert dataset.sample(image).boxes == BOXES and dataset.fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("test/mixed/b.png,short,0,0,8", "line 2 is no box: expected path, defect_type, x, y, width, height"),
        ("test/mixed/b.png,short,0,0,8,0", "line 2 is no box: it begins outside of the image, or is empty"),
        ("test/mixed/c.png,short,0,0,8,8", "line 2: 'test/mixed/c.png' is no image of the dataset"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, words):
    (tmp_path / "defects.csv").write_text(f"path,defect_type,x,y,width,height\n{line}\n")
    with pytest.raises(InputError, match=words):
        read_boxes(tmp_path, [tmp_path / "test" / "mixed" / "b.png"])


def test_a_region_counts_for_its_own_type_alone():
    # Two images of 32 x 32 pixels at half their size; the map is high where the shorts are and low at the opens.
    masks, maps = np.zeros((2, 16, 16), bool), np.full((2, 16, 16), 0.5, np.float32)
    masks[:, :4, :4] = masks[0, 12:, 8:12] = True
    maps[:, :4, :4], maps[0, 12:, 8:12] = 1, 0
    regions = typed_regions([BOXES, BOXES[:1]], [(32, 32)] * 2, masks)
    assert regions.names == ("open", "short") and [(regions.codes == code).sum() for code in (1, 2)] == [16, 32]
    found = Predictions((Path("a"), Path("b")), ("mixed",) * 2, maps.max((1, 2)), np.ones(2, bool), maps, masks)
    rows = rank_by_defect_type(found, regions)
    assert rows["short"] == {"images": 2, "pixel_AUROC": 1} and rows["open"] == {"images": 1, "pixel_AUROC": 0}
    assert rows["mixed"]["images"] == 2 and 0 < rows["mixed"]["pixel_AUROC"] < 1


def test_images_without_boxes_count_for_the_type_of_their_folder_beside_regions_of_that_type():
    masks, maps = np.zeros((3, 16, 16), bool), np.full((3, 16, 16), 0.5, np.float32)
    masks[:, :4, :4] = True
    maps[:2, :4, :4], maps[2, :4, :4] = 1, 0
    regions = typed_regions([BOXES[:1], (), ()], [(32, 32)] * 3, masks)
    paths = (Path("a"), Path("b"), Path("c"))
    found = Predictions(paths, ("mixed", "short", "short"), maps.max((1, 2)), np.ones(3, bool), maps, masks)
    row = rank_by_defect_type(found, regions)["short"]
    assert row["images"] == 3 and row["pixel_AUROC"] == pytest.approx(2 / 3), "two of three shorts are above all else"

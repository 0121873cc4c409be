import json

import numpy as np
import pytest
from PIL import Image

from training_code.data.dataset import read_dataset
from training_code.data.demo.boards import LABELS, LAYOUT, PER_DEFECT, TEST_GOOD, TRAIN, write_boards
from training_code.data.masks.mask_builder import read_label_colors


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    root = tmp_path_factory.mktemp("boards") / "pcb"
    write_boards(root)
    return root


def test_counts_and_masks(boards):
    dataset = read_dataset(boards)
    assert dataset.counts == {
        "train/good": TRAIN,
        "test/good": TEST_GOOD,
        "test/misplaced_objects": PER_DEFECT,
        "test/missing_objects": PER_DEFECT,
    }
    assert dataset.has_masks and dataset.notes == ()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_boards_and_another_seed_others(boards, tmp_path):
    write_boards(tmp_path / "again")
    write_boards(tmp_path / "other", seed=1)
    assert read_dataset(tmp_path / "again").fingerprint == read_dataset(boards).fingerprint
    assert read_dataset(tmp_path / "other").fingerprint != read_dataset(boards).fingerprint


def test_masks_mark_components_of_the_layout_that_are_missing(boards):
    for path in (boards / "ground_truth" / "missing_objects").glob("*.png"):
        mask = np.asarray(Image.open(path)) > 0
        marked = [part for part in LAYOUT if part.kind != "chip" and mask[round(part.y), round(part.x)]]
        assert 1 <= len(marked) <= 2
        assert mask.sum() <= sum(4 * (part.width + 2) * (part.height + 2) for part in marked)


def test_a_board_differs_from_a_good_one_most_where_its_mask_is(boards):
    good = np.mean([np.asarray(Image.open(path), dtype=float) for path in (boards / "train").rglob("*.png")], axis=0)
    for path in sorted((boards / "test").glob("mis*/*.png")):
        board = np.asarray(Image.open(path), dtype=float)
        mask = np.asarray(Image.open(boards / "ground_truth" / path.parent.name / f"{path.stem}_mask.png")) > 0
        difference = np.abs(board / board.mean() - good / good.mean()).max(axis=2)
        assert difference[mask].mean() > 2 * difference[~mask].mean()


def test_the_label_json_has_the_colors_of_the_segmentation(boards):
    definitions = boards / "segmentation" / "annotation_definitions.json"
    assert read_label_colors(definitions) == LABELS
    assert json.loads(definitions.read_text())["annotation_definitions"][0]["spec"][0]["label_name"] == "board"
    colors = {
        tuple(pixel)
        for pixel in np.asarray(Image.open(boards / "segmentation/missing_objects/board_000.png")).reshape(-1, 3)
    }
    assert colors == {LABELS["board"], LABELS["missing"]}

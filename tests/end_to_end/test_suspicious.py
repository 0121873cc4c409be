"""Defects among the training images are found, shown, and left out."""

import numpy as np
import pytest
from helpers.data import make_mvtec
from PIL import Image

from training_code.check_data import main
from training_code.data.dataset import read_dataset
from training_code.foundation.errors import run_command
from training_code.suspicious import find_suspicious


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Return a dataset with two defective images among twenty good ones for training."""
    root = make_mvtec(tmp_path_factory.mktemp("spoilt") / "parts", train=20)
    for kind in ("square", "bar"):
        (root / "test" / kind / "000.png").rename(root / "train" / "good" / f"{kind}.png")
        (root / "ground_truth" / kind / "000_mask.png").rename(root / f"{kind}.mask")
    return root


@pytest.mark.slow
def test_defective_training_images_stand_first_and_their_maps_show_where(spoilt):
    found = find_suspicious(read_dataset(spoilt), shown=2, image_size=96)
    assert {each.path.stem for each in found.shown} == {"square", "bar"}
    assert [each.path for each in found.shown] == found.ranked[:2] and len(found.scores) == 22
    for each in found.shown:
        marked = np.asarray(Image.open(spoilt / f"{each.path.stem}.mask").resize((96, 96))) > 127
        assert each.map.shape == (96, 96) and each.map[marked].mean() > 2 * each.map[~marked].mean()


@pytest.mark.slow
def test_the_command_lists_them_draws_them_and_leaves_out_what_is_excluded(spoilt, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    asked = ["--suspicious", "3", "--image-size", "96", "--sheet", str(sheet)]
    run_command(main, [str(spoilt), *asked])
    said = capsys.readouterr().out
    lines = said[said.index("of the middle") :].splitlines()[1:4]
    assert {line.split()[0] for line in lines[:2]} == {"train/good/square.png", "train/good/bar.png"}
    assert "22 training images at 96 × 96 pixels, each compared with the others" in said
    assert min(Image.open(sheet).size) > 150
    run_command(main, [str(spoilt), "--exclude", "train/good/square.png", "--suspicious", "1", "--image-size", "96"])
    assert "train/good/bar.png" in capsys.readouterr().out.splitlines()[-3]
    assert len(read_dataset(spoilt).select("train")) == 21


def test_images_of_a_single_part_cannot_be_compared(tmp_path, capsys):
    root = make_mvtec(tmp_path / "parts", train=4)
    (root / "groups.csv").write_text("path,group\n" + "".join(f"train/good/00{index}.png,a\n" for index in range(4)))
    assert run_command(main, [str(root), "--suspicious"]) == 2
    assert "cannot be compared with each other: a group of 4 of 4 images cannot be left out" in capsys.readouterr().err

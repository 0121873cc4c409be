"""What is written stays in the folder, belongs to this prediction alone, and is no formula to a spreadsheet."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from inference_code.output import Drawing, Output, Result
from inference_code.predictor import Prediction
from inference_code.promises import Promised
from inference_code.sources.frames import Frame
from training_code.evaluation.thresholds import Thresholds


def _write(folder, names, pictures=True):
    pixels = np.zeros((8, 8, 3), np.uint8)
    with Output(folder, Drawing(pictures), 8) as output:
        for name in names:
            found = Prediction(0, None, -0.5, np.eye(8, dtype=np.float32), (8, 8), 0.1, Thresholds(0.5, 0.5))
            output.put(Result(Frame(name, Path(name)), 0.0, found, pixels))


def _paths(folder):
    with open(folder / "predictions.csv", newline="") as file:
        return [row["path"] for row in csv.DictReader(file)]


def test_no_name_of_a_file_is_a_formula_and_each_still_names_its_file(tmp_path):
    names = ["=cmd|' /C calc'!A0.png", "+1.png", "-1.png", "@x.png", "\t=1.png", "\r=1.png", "a=1.png", "/data/=1.png"]
    _write(tmp_path, names)
    cells = _paths(tmp_path)
    assert cells == [f"./{name}" for name in names[:6]] + names[6:]
    assert [Path(cell) for cell in cells] == [Path(name) for name in names]
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == names, "nothing computes what stands there"
    with open(tmp_path / "predictions.csv", newline="") as file:
        assert [float(row["score"]) for row in csv.DictReader(file)] == [-0.5] * 8


@pytest.mark.parametrize("name", ["predictions.csv", "predictions.jsonl", "overlays", "masks"])
def test_links_in_the_folder_are_replaced_and_nothing_is_written_through_them(tmp_path, name):
    folder, outside = tmp_path / "out", tmp_path / "outside"
    folder.mkdir()
    if name.startswith("pred"):
        outside.write_text("precious")
    else:
        outside.mkdir()
    (folder / name).symlink_to(outside)
    _write(folder, ["a.png"])
    assert not (folder / name).is_symlink() and (folder / name).exists()
    assert (outside.read_text() == "precious") if outside.is_file() else not list(outside.iterdir())


@pytest.mark.parametrize("pictures", [True, False])
def test_pictures_of_an_earlier_prediction_go_and_those_of_people_stay(tmp_path, pictures):
    _write(tmp_path, ["a.png", "b.png", "c.png"])
    own = [tmp_path / "overlays" / "mine.png", tmp_path / "masks" / "00007_mine.png"]
    for path in own:
        path.write_text("precious")
    with open(tmp_path / "predictions.jsonl", "a") as file:  # somebody else wrote to it
        file.write(json.dumps({"picture": "../precious.png", "mask": "masks/mine.png"}) + '\n[1]\n{"mask": ')
    (tmp_path / "precious.png").write_text("precious")
    _write(tmp_path, ["d.png"], pictures)
    new = ["00001_d.png"] if pictures else []
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == [*new, "mine.png"]
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [*new, "00007_mine.png"]
    assert (tmp_path / "precious.png").is_file()


def test_every_line_says_what_its_threshold_promises(tmp_path):
    found = Prediction(0, None, 0.7, np.eye(8, dtype=np.float32), (8, 8), 0.1, Thresholds(0.5, 0.4))
    with Output(tmp_path, Drawing(False), 8, Promised(0.05, None, "at most 5 % of new good images")) as output:
        output.put(Result(Frame("a.png", Path("a.png")), 0.0, found, None))
    (line,) = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    assert (line["threshold"], line["pixel_threshold"]) == (0.5, 0.4)
    assert (line["image_promise"], line["pixel_promise"]) == (0.05, None)
    assert line["promise"] == "at most 5 % of new good images"
    with open(tmp_path / "predictions.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["threshold"], row["image_promise"]) == ("0.5", "0.05")

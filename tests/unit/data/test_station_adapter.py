"""What people said at a line becomes a labelled dataset in which no part is on both sides."""

import csv

import numpy as np
import pytest
from helpers.corrections import file_part, make_ledger
from helpers.data import save, texture
from PIL import Image

from training_code.data.dataset import read_dataset
from training_code.foundation.errors import run_command
from training_code.prepare_data import main

GENERATOR = np.random.default_rng(7)


@pytest.fixture
def station(tmp_path):
    """Eight good parts of two views, three bad ones of two, one of one, and one that nobody judged."""
    ledger = make_ledger(tmp_path / "line")

    def part(name, verdict, marks, said):
        views = {
            view: (save(tmp_path / "raw" / f"{name}{view}.png", texture(GENERATOR)), marked)
            for view, marked in marks.items()
        }
        number = file_part(ledger, name, verdict, views)
        if said:
            ledger.correct(number, said, "Anna", 5.0)

    for index in range(8):
        part(f"g{index}", "bad", {"top": True, "side": False}, "good")
    part("both", "bad", {"top": True, "side": True}, "bad")
    part("one", "bad", {"top": True, "side": False}, "bad")
    part("missed", "good", {"top": False, "side": False}, "bad")
    part("single", "good", {"top": False}, "bad")
    part("unjudged", "good", {"top": False, "side": False}, None)
    return tmp_path / "line"


def test_judged_parts_become_a_dataset_with_the_views_of_a_part_on_one_side(station, tmp_path, capsys):
    before = {path: path.read_bytes() for path in station.rglob("*.png")}
    assert run_command(main, ["station", str(station), str(tmp_path / "d")]) == 0
    # Both views of `both`, the marked one of `one`, the only one of `single`.
    assert read_dataset(tmp_path / "d").counts == {"train/good": 12, "test/good": 4, "test/defect": 4}
    doubtful = sorted(path.name for path in (tmp_path / "d" / "doubtful").rglob("*.png"))
    assert doubtful == [f"2026-11-26~{name}.png" for name in ("missed~side", "missed~top", "one~side")]
    said = capsys.readouterr().out
    assert "holds 3 photographs of bad parts in which the detector marked nothing" in said
    assert "holds 2 other images: of parts that nobody judged" in said
    with open(tmp_path / "d" / "groups.csv", newline="") as file:
        groups = {row["path"]: row["group"] for row in csv.DictReader(file)}
    for index in range(8):
        own = {path: group for path, group in groups.items() if f"~g{index}~" in path}
        assert len(own) == 2 and len(set(own.values())) == 1 and len({path.split("/")[0] for path in own}) == 1
    assert {path: path.read_bytes() for path in station.rglob("*.png")} == before


def test_an_unmarked_photograph_whose_part_lacks_others_is_doubtful_and_no_defect(station, tmp_path):
    ledger = make_ledger(station)
    for name, found in (("late", "incomplete"), ("dark", "unreadable")):
        image = save(tmp_path / "raw" / f"{name}.png", texture(GENERATOR))
        ledger.correct(file_part(ledger, name, found, {"top": (image, False)}), "bad", "Anna", 5.0)
    assert run_command(main, ["station", str(station), str(tmp_path / "d")]) == 0
    assert read_dataset(tmp_path / "d").counts["test/defect"] == 4  # as without these two
    doubtful = {path.name for path in (tmp_path / "d" / "doubtful").rglob("*.png")}
    assert {"2026-11-26~late~top.png", "2026-11-26~dark~top.png"} < doubtful


def test_photographs_that_are_gone_are_counted_and_the_others_brought(station, tmp_path, capsys):
    (station / "2026-11-26" / "g0" / "top.png").unlink()
    (station / "2026-11-26" / "missed" / "side.png").unlink()
    assert run_command(main, ["station", str(station), str(tmp_path / "d")]) == 0
    assert "lacks 2 photographs of parts that people judged" in capsys.readouterr().out
    counts = read_dataset(tmp_path / "d").counts
    assert counts["train/good"] + counts["test/good"] == 15
    # The other view of `missed` is not the only one for that.
    assert counts["test/defect"] == 4
    assert (tmp_path / "d" / "doubtful" / "defect" / "2026-11-26~missed~top.png").exists()


def test_chosen_views_alone_are_brought(station, tmp_path, capsys):
    assert run_command(main, ["station", str(station), str(tmp_path / "d"), "--view", "side"]) == 0
    assert read_dataset(tmp_path / "d").counts == {"train/good": 6, "test/good": 2, "test/defect": 1}
    assert run_command(main, ["station", str(station), str(tmp_path / "e"), "--view", "sied"]) == 2
    assert "unknown view 'sied' (did you mean 'side'?); valid: side, top" in capsys.readouterr().err
    assert run_command(main, ["mvtec", str(station), str(tmp_path / "e"), "--view", "side"]) == 2
    assert "--view is for station, not for mvtec" in capsys.readouterr().err


def test_a_station_where_no_part_was_called_good_is_named(tmp_path, capsys):
    ledger = make_ledger(tmp_path / "line")
    image = tmp_path / "image.png"
    Image.new("L", (32, 32)).save(image)
    ledger.correct(file_part(ledger, "a", "good", {"top": (image, False)}), "bad", "Anna", 5.0)
    assert run_command(main, ["station", str(tmp_path / "line"), str(tmp_path / "d")]) == 2
    assert "was called good by a person; a dataset needs photographs of good parts" in capsys.readouterr().err

"""What a detector found is where labeling starts: annotations that lead back to the masks, and images worth a look."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.annotations import prepared_masks
from helpers.data import save, texture
from pycocotools import mask as coco_mask

from inference_code.annotations import check_replaceable, image_root, write_annotations
from inference_code.most_useful import Verdict, choose, rank, read_picked, write_most_useful
from inference_code.output import Drawing, Output, Result
from inference_code.predictor import Prediction
from inference_code.ranges import ANNOTATIONS
from inference_code.sources.frames import Frame
from training_code.data.run_lengths import column_runs, cut_out, from_row_runs, row_runs
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError
from training_code.prepare_data import prepare


def _masks():
    """Masks with holes, parts that touch at a corner or not at all, single pixels, and none."""
    generator = np.random.default_rng(6)
    ring = np.zeros((40, 60), bool)
    ring[5:30, 10:40], ring[10:20, 15:30], ring[14, 20], ring[39, 59] = True, False, True, True
    masks = {"a/ring.png": ring, "all.png": np.ones((9, 14), bool), "pixel.png": np.zeros((33, 21), bool)}
    masks["pixel.png"][7, 11] = True
    for number, size in enumerate([(48, 48), (31, 77), (5, 3)]):
        masks[f"a/b/noise & <{number}>.png"] = generator.random(size) < 0.4
    return masks | {f"good {number}.png": np.zeros((24 + number, 30), bool) for number in range(6)}


MASKS = _masks()


def _predict(folder, source, masks, again=()):
    """Write lines as `predict` does of a detector whose maps are 1 on the masks and 0 elsewhere."""
    with Output(folder, Drawing(), 8) as output:
        for name in [*masks, *again]:
            anomaly_map = masks[name].astype(np.float32)
            found = Prediction(0, None, 0.7, anomaly_map, anomaly_map.shape, 0.1, Thresholds(0.5, 0.5))
            output.put(Result(Frame(str(source / name), source / name), 0.0, found))
        output.put(Result(Frame(str(source / "broken.png"), source / "broken.png"), 0.0, "it is broken"))


def _images(root, masks):
    generator = np.random.default_rng(4)
    for name, mask in masks.items():
        save(root / name, generator.integers(0, 256, mask.shape, np.uint8))


@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_exported_annotations_lead_back_to_the_masks_that_were_written(tmp_path, kind):
    source, output = tmp_path / "in", tmp_path / "out"
    _images(source, MASKS)
    _predict(output, source, MASKS, again=["all.png"])
    written = write_annotations(output, kind, source)
    (source / written.name).write_bytes(written.read_bytes())
    assert prepare(kind, source, tmp_path / "d") == []
    found = prepared_masks(tmp_path / "d")
    expected = {Path(name).stem: mask for name, mask in MASKS.items() if mask.any()}
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)
    copies = {path.name for path in (tmp_path / "d").rglob("good/*.png")}
    assert copies == {f"good {number}.png" for number in range(6)}, "images without finding are listed as well"
    assert [path.name for path in output.iterdir() if "tmp" in path.name] == []


def test_coco_is_what_its_reference_reads(tmp_path):
    _images(tmp_path / "in", MASKS)
    _predict(tmp_path / "out", tmp_path / "in", MASKS)
    content = json.loads(write_annotations(tmp_path / "out", "coco", tmp_path / "in").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    assert list(names.values()) == list(MASKS) and content["categories"][0]["name"] == "defect"
    drawn = {name: np.zeros(mask.shape, bool) for name, mask in MASKS.items()}
    for row in content["annotations"]:
        runs = coco_mask.frPyObjects(row["segmentation"], *row["segmentation"]["size"])
        assert coco_mask.toBbox(runs).tolist() == row["bbox"] and coco_mask.area(runs) == row["area"]
        assert (row["score"], row["category_id"], row["iscrowd"]) == (1, 1, 0)
        drawn[names[row["image_id"]]] |= coco_mask.decode(runs).astype(bool)
    for name, mask in MASKS.items():
        np.testing.assert_array_equal(drawn[name], mask)


def test_names_that_xml_cannot_hold_leave_the_file_readable(tmp_path):
    masks = {"a\x01.png": np.ones((3, 3), bool), "tab\tnew\nline.png": np.ones((3, 3), bool)}
    _images(tmp_path / "in", masks)
    _predict(tmp_path / "out", tmp_path / "in", masks)
    written = write_annotations(tmp_path / "out", "cvat", tmp_path / "in")
    (tmp_path / "in" / "a\x01.png").rename(tmp_path / "in" / "a\ufffd.png")
    (tmp_path / "in" / written.name).write_bytes(written.read_bytes())
    prepare("cvat", tmp_path / "in", tmp_path / "d")
    assert sorted(prepared_masks(tmp_path / "d")) == ["a\ufffd", "tab\tnew\nline"]


@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_annotations_of_people_are_never_replaced(tmp_path, kind):
    _images(tmp_path / "in", MASKS)
    _predict(tmp_path, tmp_path / "in", MASKS)
    for _ in range(2):
        check_replaceable(tmp_path, kind)
        path = write_annotations(tmp_path, kind, tmp_path / "in")
    path.write_text('<?xml version="1.0" encoding="utf-8"?><annotations></annotations>')
    with pytest.raises(InputError, match=rf"{path.name} was not written by this command and is not replaced; move it"):
        check_replaceable(tmp_path, kind)


def test_images_are_named_from_where_the_source_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _images(tmp_path, {"parts/1/top.png": np.zeros((3, 3), bool)})
    roots = [image_root(Path(name)).as_posix() for name in ("parts", "parts/1/top.png", "parts/*/top*.png", "*.png")]
    assert roots == ["parts", "parts/1", "parts", "."]


def test_run_lengths_are_those_of_coco_and_cvat():
    """Counted by hand: down the columns of the image, and along the rows of the box."""
    mask = np.array([[True, False], [True, True]])
    counts = column_runs(mask, 1, 0, (3, 4))
    assert counts == [3, 2, 2, 1, 4] and row_runs(mask) == [0, 1, 1, 2] and row_runs(~mask) == [1, 1, 2]
    np.testing.assert_array_equal(cut_out(counts, (3, 4), (1, 0, 2, 2)), mask)
    np.testing.assert_array_equal(from_row_runs([0, 1, 1, 2], 2, 2), mask)


SCORES = {"far": 0.1, "near": 2.9, "above": 3.2, "high": 9.0}


def test_images_near_the_threshold_come_first():
    ranked = rank({path: Verdict(score, 3) for path, score in SCORES.items()})
    assert [each.path for each in ranked] == ["near", "above", "far", "high"]
    low, high = np.percentile(list(SCORES.values()), [25, 75])
    assert ranked[0].distance == pytest.approx(0.1 / (high - low)) and ranked[0].other_score is None


def test_images_on_which_runs_disagree_come_first_whatever_their_scale():
    others = {"far": Verdict(900, 100), "near": Verdict(90, 100), "above": Verdict(110, 100)}
    ranked = rank({path: Verdict(score, 3) for path, score in SCORES.items()}, others)
    assert [(each.path, each.reason) for each in ranked] == [
        ("far", "the runs disagree"),
        ("near", "it is near the threshold"),
        ("above", "it is near the threshold"),
        ("high", "it is near the threshold"),
    ]
    assert [each.other_score for each in ranked] == [900, 90, 110, None], "one run could not read the last image"


def test_equal_scores_and_a_single_image_are_ranked():
    assert [each.distance for each in rank({"b": Verdict(2, 1), "a": Verdict(2, 1)})] == [1, 1]
    assert rank({}) == [] and choose([], 5) == []


def _parts(root, count):
    """Write images of parts, each with a brighter copy; return verdicts, the first ones nearest to the threshold."""
    generator = np.random.default_rng(9)
    verdicts = {}
    for number in range(count):
        image = np.kron(generator.integers(60, 180, (12, 12)), np.ones((4, 4), int)).astype(np.uint8)
        for copy, values in (("a", image), ("b", image + 20)):
            path = save(root / f"{number:02d}{copy}.png", values)
            verdicts[str(path)] = Verdict(1 + number + (copy == "b") / 10, 1)
    return verdicts


def test_no_two_images_that_are_picked_are_alike(tmp_path):
    verdicts = _parts(tmp_path, 12)
    picked = choose(rank(verdicts), 5)
    assert [Path(each.path).name for each in picked] == [f"{number:02d}a.png" for number in range(5)]
    assert len(choose(rank(verdicts), 100)) == 12, "there are no more different ones"


def test_neither_earlier_images_nor_their_like_are_picked_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verdicts = _parts(tmp_path / "in", 12)
    table = write_most_useful(tmp_path / "first", choose(rank(verdicts), 3))
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], Path(row["path"]).name, row["reason"]) for row in rows] == [
        (str(number + 1), f"{number:02d}a.png", "it is near the threshold") for number in range(3)
    ]
    assert [float(row["score"]) for row in rows] == [1, 2, 3] and float(rows[0]["distance"]) == 0
    earlier = read_picked([table])
    names = [Path(each.path).name for each in choose(rank(verdicts), 3, earlier)]
    assert names == ["03a.png", "04a.png", "05a.png"]
    relative = [path.relative_to(tmp_path) for path in earlier]
    assert [Path(each.path).name for each in choose(rank(verdicts), 3, relative)] == names


def test_copies_among_few_or_flat_images_are_found_by_their_content(tmp_path):
    flat, other = np.full((20, 20), 90, np.uint8), texture(np.random.default_rng(1))
    paths = [save(tmp_path / f"{number}.png", image) for number, image in enumerate([flat, flat, other])]
    verdicts = {str(path): Verdict(number, 0) for number, path in enumerate(paths)}
    assert [Path(each.path).name for each in choose(rank(verdicts), 3)] == ["0.png", "2.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "has no column path; valid for --not-again"),
        (b"", "has no column path"),
        (b"\xff", "cannot be r"),
    ],
)
def test_a_table_that_names_no_images_is_refused(tmp_path, content, words):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"x.csv {words}"):
        read_picked([tmp_path / "x.csv"])
    with pytest.raises(InputError, match="nowhere.csv cannot be read"):
        read_picked([tmp_path / "nowhere.csv"])

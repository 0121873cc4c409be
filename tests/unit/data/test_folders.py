"""What a folder holds is read or named with its number: published layouts, odd names, masks and labels among images."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
from helpers.data import SIZE, make_mvtec, save, texture
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from training_code.check_data import main as check
from training_code.data.adapters import ADAPTERS
from training_code.data.dataset import examine, read_dataset
from training_code.data.findings import is_missing
from training_code.data.published import PUBLISHED, find_adapter
from training_code.data.report import is_complete, is_usable
from training_code.data.walk import find_images, find_unread_images
from training_code.foundation.errors import InputError, run_command
from training_code.prepare_data import main as prepare

GENERATOR = np.random.default_rng(11)
MASK = np.zeros((SIZE, SIZE), np.uint8)
MASK[10:20, 5:15] = 255


def _images(folder, count, start=0, suffix=".png"):
    return [save(folder / f"{index:03d}{suffix}", texture(GENERATOR)) for index in range(start, start + count)]


def _missing(root):
    """What is not read, by the folder or file that is named, with what is said."""
    return {f.path.relative_to(root).as_posix(): f.what for f in examine(root).findings if is_missing(f)}


def _mvtec_ad_2(root):
    category = root / "can"
    _images(category / "train" / "good", 5)
    _images(category / "validation" / "good", 2)
    _images(category / "test_public" / "good", 2)
    for image in _images(category / "test_public" / "bad", 3):
        save(category / "test_public" / "ground_truth" / "bad" / f"{image.stem}_mask.png", MASK)
    _images(category / "test_private", 4)
    _images(category / "test_private_mixed", 1)
    counts = {"can": {"train/good": 7, "test/bad": 3, "test/good": 2}}
    return counts, 100, ["can/test_private holds 4 images", "can/test_private_mixed holds 1 image"]


def _mvtec_loco(root):
    category = root / "juice_bottle"
    _images(category / "train" / "good", 5)
    _images(category / "validation" / "good", 1)
    _images(category / "test" / "good", 2)
    for kind in ("logical_anomalies", "structural_anomalies"):
        for image in _images(category / "test" / kind, 2):
            other = np.roll(MASK, 20, axis=1)  # the second mask of the image, elsewhere
            save(category / "ground_truth" / kind / image.stem / "000.png", MASK)
            save(category / "ground_truth" / kind / image.stem / "001.png", other)
    counts = {"train/good": 6, "test/good": 2, "test/logical_anomalies": 2, "test/structural_anomalies": 2}
    return {"juice_bottle": counts}, 200, []


def _real_iad(root):
    rows = {"train": [], "test": []}
    for index in range(7):
        name = f"OK/S{index:04d}/usb_{index:04d}_OK_C1.jpg"
        save(root / "realiad_512" / "usb" / name, texture(GENERATOR))
        rows["train" if index < 5 else "test"].append({"anomaly_class": "OK", "image_path": name, "mask_path": None})
    for index in (7, 8):
        name = f"NG/AK/S{index:04d}/usb_{index:04d}_AK_C1"
        save(root / "realiad_512" / "usb" / f"{name}.jpg", texture(GENERATOR))
        save(root / "realiad_512" / "usb" / f"{name}.png", MASK)
        row = {"anomaly_class": "AK", "image_path": f"{name}.jpg", "mask_path": f"{name}.png"}
        rows["test"].append(row)
    save(root / "realiad_256" / "usb" / "OK" / "S0000" / "usb_0000_OK_C1.jpg", texture(GENERATOR))
    (root / "realiad_jsons" / "realiad_jsons").mkdir(parents=True)
    (root / "realiad_jsons" / "realiad_jsons" / "usb.json").write_text(json.dumps(rows))
    return {"usb": {"train/good": 5, "test/AK": 2, "test/good": 2}}, 100, ["realiad_256 holds 1 image"]


def _kolektor_1(root):
    for part in range(8):
        for image in _images(root / f"kos{part:02d}", 1, suffix=".jpg"):
            save(image.with_name(f"{image.stem}_label.bmp"), MASK if part == 3 else 0 * MASK)
    return {"": None}, 100, []


def _kolektor_2(root):
    for split, count in (("train", 6), ("test", 4)):
        for image in _images(root / split, count):
            save(image.with_name(f"{image.stem}_GT.png"), MASK if image.stem == "000" else 0 * MASK)
    return {"": {"train/good": 5, "test/defect": 1, "test/good": 3}}, 100, ["train holds 1 image"]


LAYOUTS = {
    "mvtec_ad_2": ("mvtec_ad_2", _mvtec_ad_2),
    "mvtec_loco": ("mvtec_loco", _mvtec_loco),
    "real_iad": ("real_iad", _real_iad),
    "KolektorSDD": ("kolektor", _kolektor_1),
    "KolektorSDD2": ("kolektor", _kolektor_2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_a_published_layout_what_is_read_and_what_is_left_out_is_listed(tmp_path, layout, capsys):
    adapter, make = LAYOUTS[layout]
    expected, marked, left_out = make(tmp_path / "source")
    assert find_adapter(tmp_path / "source") == adapter
    assert run_command(prepare, [adapter, str(tmp_path / "source"), str(tmp_path / "d")]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in left_out) and said.count("left out") == len(left_out)
    for category, counts in expected.items():
        dataset = read_dataset(tmp_path / "d" / category)
        assert counts is None or dataset.counts == counts
        masks = [sample.mask for sample in dataset.samples if sample.abnormal]
        assert masks and all((np.asarray(Image.open(mask)) == 255).sum() == marked for mask in masks)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_beside_a_published_layout_is_named_by_its_adapter(tmp_path, layout, capsys):
    adapter, make = LAYOUTS[layout]
    make(tmp_path / "source")
    _images(tmp_path / "source" / "more" / "of_it", 3)
    if layout == "KolektorSDD":  # every folder is a part
        assert run_command(prepare, [adapter, str(tmp_path / "source"), str(tmp_path / "d")]) == 2
        assert "more/of_it/000.png has no mask beside it" in capsys.readouterr().err
        return
    assert run_command(prepare, [adapter, str(tmp_path / "source"), str(tmp_path / "d")]) == 1
    said = capsys.readouterr().out
    assert "more holds 3 images (of_it 3) not read" in said and "NOT EVERYTHING OF THE SOURCE IS IN IT" in said
    assert "is ready" not in said


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_check_of_a_published_layout_names_the_adapter(tmp_path, layout, capsys):
    adapter, make = LAYOUTS[layout]
    make(tmp_path / "source")
    folders = [tmp_path / "source", *(folder for folder in (tmp_path / "source").iterdir() if folder.is_dir())]
    commands = []
    for folder in folders:
        assert run_command(check, [str(folder)]) != 0
        said = capsys.readouterr()
        commands += [line for line in (said.out + said.err).splitlines() if f"prepare_data {adapter} " in line]
    assert commands


def test_every_layout_that_is_recognized_has_an_adapter():
    assert set(PUBLISHED) <= set(ADAPTERS)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("test_public", "holds 3 images not read"),
        ("test_public/bad", "holds 3 images (bad 3) not read"),
        ("valid", "holds 3 images not read"),
        ("val/good", "holds 3 images (good 3) not read"),
        ("masks", "holds 3 images not read"),
        ("normal", "holds 3 images not read"),
        ("a/b/c", "holds 3 images (b 3) not read"),
    ],
)
def test_images_beside_the_layout_are_named_with_their_number(tmp_path, folder, said, capsys):
    root = make_mvtec(tmp_path / "d", train=5, good=2, defective=1)
    assert run_command(check, [str(root)]) == 0
    before = read_dataset(root).fingerprint
    _images(root / folder, 3)
    assert _missing(root) == {folder.split("/")[0]: said}
    assert read_dataset(root).fingerprint == before
    assert said in read_dataset(root).notes[0].message
    assert run_command(check, [str(root)]) == 1
    assert "NOT EVERYTHING IN IT IS READ" in capsys.readouterr().out


def test_folders_beside_plain_ones_are_named(tmp_path):
    _images(tmp_path / "normal", 6)
    _images(tmp_path / "abnormal", 1, 10)
    _images(tmp_path / "bad", 2, 20)
    _images(tmp_path, 1, 30)
    assert _missing(tmp_path) == {"bad": "holds 2 images not read", ".": "holds 1 image not read"}


def test_a_description_names_folders_that_are_not_meant_to_be_read(tmp_path):
    root = make_mvtec(tmp_path / "d")
    _images(root / "raw", 3)
    (root / "dataset.yaml").write_text("ignored_dirs: [raw]\n")
    assert is_complete(examine(root)) and examine(root).counts["train/good"] == 12
    (root / "dataset.yaml").write_text("ignored_dirs: [row]\n")
    with pytest.raises(InputError, match=r"ignored_dirs is \['row'\]; valid: a list of folders"):
        examine(root)


@pytest.mark.parametrize("name", ["Ground_Truth", "GROUND_TRUTH"])
def test_folders_in_another_case_are_the_same_folders(tmp_path, name):
    root = make_mvtec(tmp_path / "d")
    expected = read_dataset(root).fingerprint
    (root / "ground_truth").rename(root / name)
    (root / "train").rename(root / "Train")
    (root / "test").rename(root / "TEST")
    assert read_dataset(root).fingerprint == expected and is_complete(examine(root))


LETTERS = st.text(alphabet="aAbBéÉüÜñ1 .-ıßÅ", min_size=1, max_size=6).filter(lambda text: text == text.strip(" ."))
FORM = st.sampled_from(["NFC", "NFD"])
CASE = st.sampled_from([str, str.upper, str.lower])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(LETTERS, min_size=1, max_size=3), kind=LETTERS, forms=st.tuples(FORM, FORM, FORM, FORM), case=CASE
)
def test_names_that_look_alike_are_paired(tmp_path_factory, names, kind, forms, case):
    assume(case(kind).casefold() == kind.casefold() and all(case(n).casefold() == n.casefold() for n in names))
    assume(
        kind.lower() not in ("good", "ok")
        and len({unicodedata.normalize("NFC", n).casefold() for n in names}) == len(names)
    )
    root = make_mvtec(tmp_path_factory.mktemp("names") / "d", train=2, good=1, defective=0)
    folders = [unicodedata.normalize(form, name) for form, name in zip(forms, (kind, case(kind)), strict=False)]
    for name in names:
        save(root / "test" / folders[0] / f"{unicodedata.normalize(forms[2], name)}.png", MASK // 2 + 50)
        mask = case(unicodedata.normalize(forms[3], name))
        save(root / "ground_truth" / folders[1] / f"{mask}_mask.png", MASK)
    dataset = examine(root)
    pairs = {s.path.stem: s.mask for s in dataset.samples if s.abnormal}
    assert len(pairs) == len(names) and all(pairs.values()) and len(set(pairs.values())) == len(names)
    assert not [f for f in dataset.findings if is_missing(f)]


def test_of_names_that_differ_in_case_each_image_gets_its_own_mask(tmp_path):
    root = make_mvtec(tmp_path / "d", defective=0)
    for name in ("a", "A"):
        save(root / "test" / "bar" / f"{name}.png", texture(GENERATOR))
        save(root / "ground_truth" / "bar" / f"{name}_mask.png", MASK)
    assert {s.path.stem: s.mask.stem for s in read_dataset(root).samples if s.abnormal} == {
        "a": "a_mask",
        "A": "A_mask",
    }


def test_a_mask_is_never_shared_by_defect_types_whose_names_differ_in_case(tmp_path):
    root = make_mvtec(tmp_path / "d", defective=1)
    save(root / "test" / "Bar" / "000.png", texture(GENERATOR))
    (finding,) = examine(root).refused
    assert finding.kind == "ambiguous mask" and "two defect types, Bar and bar" in finding.what


@pytest.mark.parametrize("word", ["_mask", "_label", "_GT", "-Mask", "_ground_truth"])
@pytest.mark.parametrize("folder", ["test/bar", "train/good"])
def test_masks_among_the_images_are_refused(tmp_path, word, folder):
    root = make_mvtec(tmp_path / "d", train=6, masks=False)
    for image in sorted((root / folder).iterdir()):
        save(root / folder / f"{image.stem}{word}.png", MASK)
    refused = examine(root).refused
    assert {f.kind for f in refused} == {"mask among images"} and len(refused) == (4 if folder == "test/bar" else 6)
    assert refused[0].other == root / folder / "000.png"


@pytest.mark.parametrize("name", ["masks", "ground_truth", "bar_mask"])
def test_a_defect_type_of_masks_is_refused(tmp_path, name):
    root = make_mvtec(tmp_path / "d")
    shutil.copytree(root / "ground_truth" / "bar", root / "test" / name)
    assert sum(finding.kind == "mask among images" for finding in examine(root).refused) == 4


def test_a_mask_beside_its_image_under_the_same_name_is_refused(tmp_path):
    root = make_mvtec(tmp_path / "d", defective=0)
    (image,) = _images(root / "test" / "bar", 1, suffix=".jpg")
    save(image.with_suffix(".png"), MASK)
    (finding,) = examine(root).refused
    assert finding.kind == "mask among images" and finding.path == image.with_suffix(".png")


def test_photographs_named_like_masks_are_reported_and_kept(tmp_path):
    root = make_mvtec(tmp_path / "d", defective=0)
    _images(root / "test" / "label", 1)
    save(root / "test" / "label" / "000_label.png", texture(GENERATOR))
    dataset = read_dataset(root)
    assert dataset.counts["test/label"] == 2 and [note.kind for note in dataset.notes] == ["mask among images"]


def test_masks_of_good_images_are_reported_if_they_mark_something(tmp_path):
    root = make_mvtec(tmp_path / "d")
    save(root / "ground_truth" / "good" / "000_mask.png", 0 * MASK)
    assert examine(root).findings == ()
    save(root / "ground_truth" / "good" / "001_mask.png", MASK)
    (finding,) = examine(root).findings
    assert finding.kind == "mask of a good image" and finding.path.name == "001_mask.png" and is_missing(finding)


@pytest.mark.parametrize("name", ["IMG.jfif", "IMG.pgm", "IMG"])
def test_an_image_under_an_unusual_name_is_read(tmp_path, name):
    root = make_mvtec(tmp_path / "d")
    kind = {"IMG.pgm": "PPM", "IMG.jfif": "JPEG", "IMG": "PNG"}[name]
    Image.fromarray(texture(GENERATOR)).save(root / "train" / "good" / name, format=kind)
    (root / "train" / "good" / "README").write_text("photographed in May")
    dataset = read_dataset(root)
    assert dataset.counts["train/good"] == 13
    assert [(f.path.name, f.kind) for f in dataset.findings] == [("README", "no image")]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png.bak", "PNG"), ("a.gif", "GIF"), ("a.0001", "TIFF"), ("a.jp2", "JPEG2000")]
)
def test_an_image_that_is_skipped_for_its_name_is_reported(tmp_path, name, kind):
    root = make_mvtec(tmp_path / "d")
    Image.fromarray(texture(GENERATOR)).save(root / "train" / "good" / name, format=kind)
    assert list(_missing(root)) == [f"train/good/{name}"]


def test_a_file_with_pages_is_reported_with_their_number(tmp_path):
    root = make_mvtec(tmp_path / "d")
    pages = [Image.fromarray(texture(GENERATOR)) for _ in range(3)]
    pages[0].save(root / "train" / "good" / "pages.tif", save_all=True, append_images=pages[1:])
    (note,) = read_dataset(root).notes
    assert note.message.startswith("train/good/pages.tif has 3 frames: the first is read (1 of 3")


def test_a_folder_of_categories_is_an_error_that_names_them(tmp_path):
    for name in ("bottle", "cable"):
        make_mvtec(tmp_path / "mvtec" / name, train=1, good=1, defective=0)
    with pytest.raises(InputError, match=r"holds 2 datasets, each in a folder of its own: bottle, cable; give one"):
        examine(tmp_path / "mvtec")
    with pytest.raises(InputError, match=r"holds 2 datasets, each in a folder of its own: mvtec/bottle, mvtec/cable"):
        examine(tmp_path)


def test_the_description_of_another_program_does_not_hide_a_layout(tmp_path):
    root = make_mvtec(tmp_path / "d")
    (root / "dataset.yaml").write_text("path: .\ntrain: images/train\nnames: {0: scratch}\n")
    dataset = read_dataset(root)
    assert dataset.counts["train/good"] == 12 and [note.kind for note in dataset.notes] == ["foreign description"]
    (root / "dataset.yaml").write_text("mask_treshold: 3\n")
    with pytest.raises(InputError, match="must have the key normal_dir"):
        examine(root)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_good_images_can_be_used_with_a_warning(tmp_path, count):
    dataset = read_dataset(make_mvtec(tmp_path / "d", train=count, good=2, defective=1))
    assert dataset.counts["train/good"] == count
    assert [note.kind for note in dataset.notes] == ["few images"] and "are unreliable" in dataset.notes[0].message


def _labelme(root):
    for index, image in enumerate(_images(root, 10)):
        box = {"label": "scratch", "points": [[5, 10], [14, 19]], "shape_type": "rectangle"}
        corners = {"label": "dent", "points": [[5, 10], [14, 10], [14, 19], [5, 19]], "shape_type": "polygon"}
        shapes = [[box], [corners], []][min(index, 2)]
        content = {"version": "5", "shapes": shapes, "imagePath": f"..\\{image.name}"}
        image.with_suffix(".json").write_text(json.dumps(content))
    return {"train/good": 6, "test/dent": 1, "test/good": 2, "test/scratch": 1}


def _coco(root):
    images = _images(root / "images", 11)
    polygon = {"segmentation": [[5, 10, 15, 10, 15, 20, 5, 20]], "bbox": [5, 10, 10, 10]}
    runs = [5 * SIZE + 10, *[10, SIZE - 10] * 9, 10]
    coded = {"segmentation": {"size": [SIZE, SIZE], "counts": [*runs, SIZE**2 - sum(runs)]}, "bbox": [5, 10, 10, 10]}
    kinds = [polygon, coded, {"bbox": [5, 10, 10, 10]}]
    content = {
        "images": [{"id": index, "file_name": image.name} for index, image in enumerate(images)],
        "categories": [{"id": 7, "name": "good"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 7, **kind} for i, kind in enumerate(kinds)],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(content))
    return {"train/good": 6, "test/defect": 3, "test/good": 2}


@pytest.mark.parametrize(("adapter", "make"), [("labelme", _labelme), ("coco", _coco)])
def test_annotations_become_masks(tmp_path, adapter, make, capsys):
    counts = make(tmp_path / "source")
    assert run_command(prepare, [adapter, str(tmp_path / "source"), str(tmp_path / "d")]) == 0, capsys.readouterr()
    dataset = read_dataset(tmp_path / "d")
    assert dataset.counts == counts
    # A rectangle from (5, 10) to (14, 19) with both corners.
    assert all((np.asarray(Image.open(s.mask)) == MASK).all() for s in dataset.samples if s.abnormal)


@pytest.mark.parametrize(("adapter", "make"), [("labelme", _labelme), ("coco", _coco)])
def test_annotations_beside_images_are_named_with_their_command(tmp_path, adapter, make):
    root = make_mvtec(tmp_path / "d", masks=False)
    make(root / "test" / "bar")
    (finding,) = [f for f in examine(root).findings if f.kind == "annotations"]
    assert f"prepare_data {adapter} {root} NEW_FOLDER" in finding.what and is_missing(finding)


@pytest.mark.parametrize(("adapter", "make"), [("labelme", _labelme), ("coco", _coco)])
def test_the_error_for_a_folder_of_images_and_annotations_names_the_command(tmp_path, adapter, make):
    make(tmp_path)
    with pytest.raises(InputError, match=f"no layout that can be read.*prepare_data {adapter} "):
        examine(tmp_path)


def test_boxes_beside_plain_folders_are_not_lost_silently(tmp_path):
    _images(tmp_path / "normal", 6)
    _images(tmp_path / "abnormal", 1, 10)
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "010.txt").write_text("5 10 14 19")
    assert "prepare_data miic" in _missing(tmp_path)["."]


def test_masks_of_a_description_without_abnormal_images_are_named(tmp_path):
    _images(tmp_path / "source" / "ok", 6)
    save(tmp_path / "source" / "marks" / "a.png", MASK)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "dataset.yaml").write_text("normal_dir: ../source/ok\nmask_dir: ../source/marks\n")
    assert [f.kind for f in examine(tmp_path / "d").findings if is_missing(f)] == ["mask without image"]


def test_folders_that_a_description_does_not_name_are_reported_when_it_is_made(tmp_path, capsys):
    _images(tmp_path / "line" / "ok", 6)
    _images(tmp_path / "line" / "rejects", 3, 10)
    arguments = ["folder", str(tmp_path / "line"), str(tmp_path / "d"), "--normal-dir", "ok"]
    assert run_command(prepare, arguments) == 0
    assert "rejects holds 3 images not read" in capsys.readouterr().out


def test_an_adapter_reads_masks_as_the_check_does(tmp_path, capsys):
    root = make_mvtec(tmp_path / "source", defective=1)
    soft = np.clip(MASK.astype(int) + np.roll(MASK, 1, 0) // 4, 0, 255).astype(np.uint8)
    save(root / "ground_truth" / "bar" / "000_mask.png", soft)
    save(root / "ground_truth" / "good" / "000_mask.png", MASK)
    assert run_command(prepare, ["mvtec", str(root), str(tmp_path / "d")]) == 1
    said = capsys.readouterr().out
    assert "has soft edges or other gray values: pixels from 128 on count" in said
    assert "ground_truth/good/000_mask.png marks a defect in an image that counts as defect-free" in said
    assert (np.asarray(Image.open(tmp_path / "d" / "ground_truth" / "bar" / "000_mask.png")) == MASK).all()
    save(root / "ground_truth" / "bar" / "000_mask.png", np.tile(np.arange(SIZE, dtype=np.uint8) * 5, (SIZE, 1)))
    assert run_command(prepare, ["mvtec", str(root), str(tmp_path / "d")]) == 2
    assert "has more than two gray values" in capsys.readouterr().err


def test_an_adapter_keeps_images_of_the_same_name_in_folders_of_another_case_apart(tmp_path):
    root = make_mvtec(tmp_path / "source", defective=1)
    (root / "test").rename(root / "Test")
    for folder in ("a", "b"):
        _images(root / "Test" / "good" / folder, 1)
    assert run_command(prepare, ["mvtec", str(root), str(tmp_path / "d")]) == 0
    assert read_dataset(tmp_path / "d").counts["test/good"] == 8


def test_other_code_can_ask_for_the_content_of_a_folder(tmp_path):
    """Prediction from folders uses these functions."""
    (image,) = _images(tmp_path, 1)
    image.rename(tmp_path / "frame")
    shutil.copyfile(tmp_path / "frame", tmp_path / "copy.bak")
    (tmp_path / "notes").write_text("none")
    assert find_images(tmp_path) == [tmp_path / "frame"]
    assert find_unread_images(tmp_path) == {tmp_path / "copy.bak": "PNG"}


TREE = st.lists(
    st.tuples(
        st.sampled_from(["train", "test", "validation", "normal", "masks", "ground_truth", "Test", "x"]),
        st.sampled_from(["", "good", "bad", "Good", "ground_truth", "a/b"]),
        st.sampled_from(["000.png", "000_mask.png", "é.png", "y", "z.bak", "n.json"]),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=TREE)
def test_every_image_of_a_tree_is_read_or_named(tmp_path_factory, files):
    root = make_mvtec(tmp_path_factory.mktemp("tree") / "d", train=2, good=1, defective=1)
    for top, below, name in files:
        path = root / top / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(texture(GENERATOR)).save(path, format="PNG")
    dataset = examine(root)
    read = {path for sample in dataset.samples for path in (sample.path, sample.mask) if path}
    named = {finding.path for finding in dataset.findings}
    for path in root.rglob("*"):
        if path.is_file():
            assert path in read or named & {path, *path.parents} or path.is_relative_to(root / "ground_truth" / "good")
    assert is_usable(dataset) or dataset.refused

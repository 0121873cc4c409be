"""Small copies of published datasets become datasets that can be read; the source is never changed."""

import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.data import make_mvtec, save, texture
from PIL import Image

from training_code.check_data import main as check_data
from training_code.data.adapters import magnetic_tile
from training_code.data.adapters.copying import part_groups, split_good
from training_code.data.adapters.deeppcb import read_boxes
from training_code.data.adapters.elpv import find_elpv
from training_code.data.boxes import Box
from training_code.data.dataset import examine, read_dataset
from training_code.data.regions import find_regions
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.prepare_data import main, prepare

GENERATOR = np.random.default_rng(5)
MASK = np.zeros((48, 48), np.uint8)
MASK[10:20, 5:15] = 255

_ELPV_FOLDERS = ("train/good", "test/good", "test/mono", "test/poly", "doubtful/one_third", "doubtful/two_thirds")


def _images(folder, count, suffix=".png", start=0):
    return [save(folder / f"{index:03d}{suffix}", texture(GENERATOR)) for index in range(start, start + count)]


def _tree(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _btad(root):
    for product in ("01", "02"):
        _images(root / product / "train" / "ok", 6, ".bmp")
        _images(root / product / "test" / "ok", 2, ".bmp")
        _images(root / product / "test" / "ko", 3, ".bmp", start=10)
        for index in range(10, 13):
            save(root / product / "ground_truth" / "ko" / f"{index:03d}.png", MASK)
    return {
        "01": {"train/good": 6, "test/good": 2, "test/ko": 3},
        "02": {"train/good": 6, "test/good": 2, "test/ko": 3},
    }


def _mvtec(root):
    make_mvtec(root / "pcb", train=5, good=2, defective=1)
    make_mvtec(root / "toolbox", train=6, good=1, defective=2)
    for mask in (root / "toolbox" / "ground_truth").rglob("*_mask.png"):
        mask.rename(mask.with_name(mask.name.replace("_mask", "")))
    return {
        "pcb": {"train/good": 5, "test/good": 2, "test/bar": 1, "test/square": 1},
        "toolbox": {"train/good": 6, "test/good": 1, "test/bar": 2, "test/square": 2},
    }


def _visa(root):
    rows = ["object,split,label,image,mask"]
    images = [path.relative_to(root) for path in _images(root / "candle" / "Data" / "Images" / "Normal", 7, ".JPG")]
    rows += [f"candle,{'train' if index < 5 else 'test'},normal,{path}," for index, path in enumerate(images)]
    for path in _images(root / "candle" / "Data" / "Images" / "Anomaly", 2, ".JPG", start=20):
        mask = save(root / "candle" / "Data" / "Masks" / "Anomaly" / f"{path.stem}.png", MASK // 255 * 3)
        rows.append(f"candle,test,anomaly,{path.relative_to(root)},{mask.relative_to(root)}")
    (root / "split_csv").mkdir()
    (root / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n")
    return {"candle": {"train/good": 5, "test/good": 2, "test/anomaly": 2}}


def _miic(root):
    _images(root / "normal", 8)
    first, second = _images(root / "abnormal", 2, start=30)
    save(root / "masks" / f"{first.stem}.png", MASK)
    (root / "boxes").mkdir()
    (root / "boxes" / f"{second.stem}.txt").write_text("5 10 14 19\n")
    return {"": {"train/good": 6, "test/good": 2, "test/anomaly": 2}}


def _deeppcb(root):
    folder = root / "PCBData" / "group1" / "1"
    for index in range(8):
        for kind in ("temp", "test"):
            save(folder / f"1{index}_{kind}.jpg", texture(GENERATOR))
        (folder.parent / "1_not").mkdir(exist_ok=True)
        (folder.parent / "1_not" / f"1{index}.txt").write_text(f"5 10 14 19 {index % 6 + 1}\n")
    return {"": {"train/good": 4, "test/mixed": 4}}


def _magnetic_tile(root):
    for path in _images(root / "MT_Free" / "Imgs", 102, ".jpg"):
        save(path.with_suffix(".png"), 0 * MASK)
    cracked = _images(root / "MT_Crack" / "Imgs", 2, ".jpg")
    # The tile of a crack, filed as defect-free as well.
    twin = root / "MT_Free" / "Imgs" / "twin.jpg"
    shutil.copyfile(cracked[0], twin)
    save(twin.with_suffix(".png"), 0 * MASK)
    for path in cracked:
        soft = MASK.copy()
        soft[9, 5:15] = 100  # a soft edge, below the threshold
        save(path.with_suffix(".png"), soft)
    return {"": {"train/good": 100, "test/good": 2, "test/crack": 2}}


def _elpv(root):
    """Make the folder of the package: 12 good cells, 3 defective ones, and 2 of which people were not sure."""
    labels = [("0.0", "mono")] * 5 + [("0.0", "poly")] * 7 + [("1.0", "mono"), ("1.0", "poly"), ("1.0", "poly")]
    labels += [("0.3333333333333333", "mono"), ("0.6666666666666666", "poly")]
    names = [path.name for path in _images(root / "images", len(labels))]
    lines = [f"images/{name:<15} {p}  {kind}" for name, (p, kind) in zip(names, labels, strict=True)]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return {"": {"train/good": 10, "test/good": 2, "test/mono": 1, "test/poly": 2}}  # 208 of 1,508: 2 of 12


MAKERS = {
    "btad": _btad,
    "mvtec": _mvtec,
    "visa": _visa,
    "miic": _miic,
    "deeppcb": _deeppcb,
    "elpv": _elpv,
    "magnetic_tile": _magnetic_tile,
}


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("adapter", MAKERS)
def test_a_published_dataset_is_brought_into_the_layout(tmp_path, adapter, link, capsys):
    source, destination = tmp_path / "source", tmp_path / "data" / "d"
    expected = MAKERS[adapter](source)
    before = _tree(source)
    arguments = [adapter, str(source), str(destination), *(["--link"] if link else [])]
    for _ in range(2):  # it is safe to repeat
        assert run_command(main, arguments) == 0
    assert _tree(source) == before
    assert "is ready" in capsys.readouterr().out
    for category, counts in expected.items():
        dataset = read_dataset(destination / category)
        assert dataset.counts == counts
        for sample in dataset.samples:
            assert sample.path.is_symlink() == link
            assert (sample.mask is not None) == (sample.abnormal and adapter != "elpv")  # which has no masks
            if sample.mask:
                mask = np.asarray(Image.open(sample.mask))
                # make_mvtec marks squares of 12 × 12 and bars of 12 × 4 pixels.
                areas = {"square": 144, "bar": 48}
                correct = (mask > 0).sum() == areas[sample.defect_type] if adapter == "mvtec" else (mask == MASK).all()
                assert correct and set(np.unique(mask)) == {0, 255}, sample.mask


def test_solar_cells_that_look_alike_are_cells_of_their_own_unless_they_are_one_photograph(tmp_path):
    _elpv(tmp_path / "source")
    first, alike, third, same = (tmp_path / "source" / "images" / f"{number:03d}.png" for number in range(4))
    pixels = np.asarray(Image.open(first)).copy()
    pixels[0, 0] ^= 1
    save(alike, pixels)
    shutil.copyfile(third, same)
    elsewhere = part_groups(tmp_path, sorted(first.parent.iterdir()))
    assert elsewhere[first] == elsewhere[alike] and elsewhere[third] == elsewhere[same]
    prepare("elpv", tmp_path / "source", tmp_path / "d")
    dataset = read_dataset(tmp_path / "d")
    groups = {path.name.removeprefix("mono_"): group for path, group in dataset.groups.items()}
    assert groups["000.png"] != groups["001.png"] and groups["002.png"] == groups["003.png"]
    assert len(set(groups.values())) == len(groups) - 1
    assert len({path.parts[-3] for path in dataset.groups if path.stem in ("mono_002", "mono_003")}) == 1


def test_of_solar_cells_that_cannot_be_read_no_two_are_taken_for_one(tmp_path):
    _elpv(tmp_path / "source")
    for name in ("000", "014"):  # a good one and a defective one
        (tmp_path / "source" / "images" / f"{name}.png").write_bytes(b"no image")
    prepare("elpv", tmp_path / "source", tmp_path / "d")
    lines = (tmp_path / "d" / "groups.csv").read_text().splitlines()[1:]
    assert len({line.split(",")[1] for line in lines}) == len(lines) == 15


def test_folders_of_any_names_are_used_where_they_are(tmp_path, capsys):
    source, destination = tmp_path / "line 7", tmp_path / "data" / "line7"
    _images(source / "gut", 8)
    _images(source / "schlecht" / "kratzer", 2, start=20)
    for index in (20, 21):
        save(source / "masken" / "kratzer" / f"{index:03d}.png", MASK)
    folders = ["--normal-dir", "gut", "--abnormal-dir", "schlecht", "--mask-dir", "masken"]
    assert run_command(main, ["folder", str(source), str(destination), *folders]) == 0
    dataset = read_dataset(destination)
    assert dataset.counts == {"train/good": 6, "test/good": 2, "test/kratzer": 2} and dataset.has_masks
    assert all(sample.path.is_relative_to(source) for sample in dataset.samples)
    assert sorted(path.name for path in destination.iterdir()) == [".prepared", "dataset.yaml"]
    said = capsys.readouterr().out
    assert "2 of 8 defect-free images are held out for testing, since none are given for that" in said
    follows = shlex.split(said[said.index("next: ") :].removeprefix("next: "))
    assert follows[1:] == ["check-data", str(destination)]
    assert check_data(follows[2:]) == 0 and "it can be used" in capsys.readouterr().out


def test_what_is_next_is_said_of_a_dataset_in_data_by_its_name_and_not_where_it_cannot_be_used(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    _images(tmp_path / "photos" / "good", 8)
    folders = ["folder", str(tmp_path / "photos"), str(tmp_path / "data" / "line 7"), "--normal-dir", "good"]
    assert run_command(main, folders) == 0
    assert capsys.readouterr().out.endswith(" check-data 'line 7'\n")
    (tmp_path / "photos" / "good" / "broken.png").write_text("?")
    assert run_command(main, folders) == 1
    said = capsys.readouterr().out
    assert "CANNOT BE USED yet" in said and "next:" not in said


@pytest.mark.parametrize("adapter", ["folder", "mvtec", "elpv"])
def test_what_people_wrote_into_a_dataset_is_there_when_it_is_prepared_again(tmp_path, adapter):
    source, destination = tmp_path / "source", tmp_path / "data" / "d"
    folders = {}
    if adapter == "folder":
        _images(source / "gut", 8)
        folders = {"normal_dir": "gut"}
    else:
        MAKERS[adapter](source)
    prepare(adapter, source, destination, folders=folders)
    made = destination / "toolbox" if adapter == "mvtec" else destination
    written = {
        "region.json": '{"size": [48, 48], "polygons": [[[0, 0], [48, 0], [48, 48]]]}',
        "exclude.csv": "path,reason\n",
    }
    if adapter != "elpv":  # whose adapter says which cells are one part
        written["groups.csv"] = f"path,group\n{examine(made).samples[0].path},board 1\n"
    for name, text in written.items():
        (made / name).write_text(text)
    description = made / "dataset.yaml"
    before = yaml.safe_load(description.read_text()) if description.exists() else {}
    description.write_text(yaml.safe_dump(before | {"mask_threshold": 100}))
    groups = (made / "groups.csv").read_text()
    prepare(adapter, source, destination, folders=folders)
    assert {name: (made / name).read_text() for name in written} == written
    assert yaml.safe_load(description.read_text()) == before | {"mask_threshold": 100}
    assert (made / "groups.csv").read_text() == groups


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("normal_dir: .\nabnormal_dir: bad", "lies in .* .normal_dir.; each needs a folder of its own"),
        ("normal_dir: 2020-13-45", "there is no folder '2020-13-45' .normal_dir."),
        ("normal_dir: 2020-01-15", "there is no folder '2020-01-15' .normal_dir."),
        ("normal_dir: 007", "there is no folder '007' .normal_dir."),
        (
            "normal_dir: .\nnormal_dir: bad",
            "dataset.yaml, line 2: the key 'normal_dir' is given twice, first in line 1",
        ),
        ("normal_dir: ~", "must have the key normal_dir"),
        (f"normal_dir: {'x' * 300}", "there is no folder"),
        ("normal_dir: nowhere", "there is no folder 'nowhere' .normal_dir."),
        ("abnormal_dir: .", "must have the key normal_dir"),
        ("normal_dir: .\nmask_folder: x", "unknown key .*'mask_folder'.*valid: normal_dir"),
        ("{", "is not valid YAML"),
    ],
)
def test_a_wrong_description_is_one_sentence(tmp_path, content, words):
    (tmp_path / "dataset.yaml").write_text(content)
    (tmp_path / "bad").mkdir()
    with pytest.raises(InputError, match=words):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("adapter", "options", "words"),
    [
        ("magnetic_tile", {}, "holds 0 images of tiles without a defect; more than 100 are needed"),
        ("deeppcb", {}, "holds no template"),
        ("mvtec", {}, "no dataset in the layout of MVTec AD: there is no folder train in it"),
        ("btad", {}, "no dataset as BTAD is published: there is no folder train/ok in it"),
        ("visa", {}, "is not VisA as published: there is no split_csv/1cls.csv"),
        ("elpv", {}, "is not ELPV as published: there is no labels.csv in it"),
        ("miic", {}, "must have images in normal/ and abnormal/; found 0 and 0"),
        ("folder", {}, "needs --normal-dir"),
        ("folder", {"folders": {"normal_dir": "x"}}, "there is no folder 'x' in .* .normal_dir.; found none"),
        ("mvtec", {"folders": {"mask_dir": "x"}}, "--mask-dir is for the adapter folder, not for mvtec"),
    ],
)
def test_a_source_that_is_not_what_the_adapter_expects_leaves_nothing_behind(tmp_path, adapter, options, words):
    (tmp_path / "source").mkdir()
    with pytest.raises(InputError, match=words):
        prepare(adapter, tmp_path / "source", tmp_path / "d", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_was_not_made_by_the_command_is_never_touched(tmp_path):
    _miic(tmp_path / "source")
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="was not made by this command"):
        prepare("miic", tmp_path / "source", tmp_path / "mine")
    for source, destination in (("source", "source/d"), ("source", "source"), ("source/normal", "source")):
        before = _tree(tmp_path / "source")
        (tmp_path / "source" / ".prepared").touch()
        with pytest.raises(InputError, match="each needs a folder of its own"):
            prepare("miic", tmp_path / source, tmp_path / destination)
        (tmp_path / "source" / ".prepared").unlink()
        assert _tree(tmp_path / "source") == before


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("../out,train,normal,a.JPG,", "line 2: the object '../out' must be the name of a folder"),
        (",train,normal,a.JPG,", "line 2: the object '' must be"),
        ("x,train,normal,../a.JPG,", "line 2: '../a.JPG' is no path in the folder of the dataset"),
        ("x,train", "line 2: split must be train or test, label normal or anomaly"),
        ("x,train,anomaly,a.JPG,", "is an anomaly among the training images"),
    ],
)
def test_rows_of_visa_that_lead_elsewhere_are_refused(tmp_path, row, words):
    (tmp_path / "visa" / "split_csv").mkdir(parents=True)
    content = f"object,split,label,image,mask\n{row}\n"
    (tmp_path / "visa" / "split_csv" / "1cls.csv").write_text(content, encoding="utf-8-sig")
    with pytest.raises(InputError, match=words):
        prepare("visa", tmp_path / "visa", tmp_path / "d")


def test_a_source_is_found_from_the_folder_beside_it(tmp_path, monkeypatch):
    _visa(tmp_path / "visa")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    prepare("visa", Path("../visa"), Path("d"))
    assert read_dataset(tmp_path / "here" / "d" / "candle").counts["train/good"] == 5


def test_solar_cells_keep_their_kind_and_doubtful_ones_are_in_no_split(tmp_path, capsys):
    _elpv(tmp_path / "elpv" / "src" / "elpv_dataset" / "data")  # as in the repository
    save(tmp_path / "elpv" / "doc" / "images" / "overview.jpg", texture(GENERATOR))
    assert run_command(main, ["elpv", str(tmp_path / "elpv"), str(tmp_path / "d")]) == 0
    names = {folder: sorted(path.name for path in (tmp_path / "d" / folder).iterdir()) for folder in _ELPV_FOLDERS}
    assert [*map(names.get, _ELPV_FOLDERS[2:])] == [
        ["mono_012.png"],
        ["poly_013.png", "poly_014.png"],
        ["mono_015.png"],
        ["poly_016.png"],
    ]
    kinds = ["mono"] * 5 + ["poly"] * 7
    assert sorted(names["train/good"] + names["test/good"]) == [f"{kind}_{n:03d}.png" for n, kind in enumerate(kinds)]
    said = capsys.readouterr().out
    assert "holds 2 doubtful cells (1/3 or 2/3), neither trained nor tested on: they are in doubtful/" in said
    assert "holds 1 image left out: they do not belong to labels.csv" in said
    for words in (said, (tmp_path / "d" / "LICENSE.txt").read_text()):
        assert "CC BY-NC-SA 4.0: not for commercial use" in words
    assert yaml.safe_load((tmp_path / "d" / "dataset.yaml").read_text()) == {"ignored_dirs": ["doubtful"]}
    dataset = read_dataset(tmp_path / "d")
    assert not dataset.has_masks and not [each for each in dataset.findings if each.treatment == "skipped"]


def test_copies_of_a_solar_cell_are_on_one_side(tmp_path):
    _elpv(tmp_path / "elpv")
    images = tmp_path / "elpv" / "images"
    for index in range(0, 12, 2):  # pairs; every split by single images would part one
        shutil.copyfile(images / f"{index:03d}.png", images / f"{index + 1:03d}.png")
    prepare("elpv", tmp_path / "elpv", tmp_path / "d")
    tested = {int(path.stem[-3:]) // 2 for path in (tmp_path / "d" / "test" / "good").iterdir()}
    trained = {int(path.stem[-3:]) // 2 for path in (tmp_path / "d" / "train" / "good").iterdir()}
    assert tested and not tested & trained


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images/000.png 0.5 mono", "line 2: the probability must be 0, 1/3, 2/3 or 1, and the kind one of mono, poly"),
        ("images/000.png 1.0 thin", "line 2: the probability must be"),
        ("images/000.png nan mono", "line 2 is no label"),
        ("images/000.png mono", "line 2 is no label: expected a path, a probability and mono, poly"),
        ("../000.png 1.0 mono", "line 2: '../000.png' is no path in the folder"),
        ("images/001.png 1.0 mono", "line 2: images/001.png is named a second time"),
        ("images/9.png 1.0 mono", "line 2: there is no image images/9.png"),
    ],
)
def test_labels_of_solar_cells_that_are_wrong_are_named_with_their_line(tmp_path, line, words):
    _images(tmp_path / "elpv" / "images", 3)
    (tmp_path / "elpv" / "labels.csv").write_text(f"images/001.png 0.0 mono\n{line}\n")
    with pytest.raises(InputError, match=words):
        prepare("elpv", tmp_path / "elpv", tmp_path / "d")


def test_without_a_folder_the_cells_come_from_the_package(tmp_path, monkeypatch, capsys):
    _elpv(tmp_path / "site" / "elpv_dataset" / "data")
    (tmp_path / "site" / "elpv_dataset" / "__init__.py").touch()
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert run_command(main, ["elpv"]) == 0
    assert read_dataset(tmp_path / "data" / "elpv").counts["train/good"] == 10
    assert run_command(main, ["elpv", "--link", str(tmp_path / "d")]) == 0  # a folder alone is the new one
    assert next((tmp_path / "d" / "test" / "mono").iterdir()).is_symlink()


def test_without_folder_and_package_the_extra_and_the_folder_are_named(monkeypatch, capsys):
    monkeypatch.setattr("training_code.data.adapters.elpv.PACKAGE", "elpv_dataset_that_is_not_installed")
    assert run_command(main, ["elpv"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and 'pip install "anomaly-detection-experiments[elpv]"' in said
    assert "SRC before DST, a folder with labels.csv and images" in said


def test_of_other_datasets_no_folder_can_be_left_out(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["visa", str(tmp_path)])
    assert ended.value.code == 2 and "DST is missing: visa needs both" in capsys.readouterr().err


@pytest.mark.slow
def test_solar_cells_as_published(tmp_path):
    if find_spec("elpv_dataset") is None:
        pytest.skip("the photographs are not here: the extra elpv, for non-commercial use, is not installed")
    prepare("elpv", find_elpv(), tmp_path / "d", link=True)
    counts = {name: len(list((tmp_path / "d" / name).iterdir())) for name in _ELPV_FOLDERS}
    # Of labels.csv: 588 mono and 920 poly are good, 313 and 402 defective, 295 and 106 doubtful.
    assert counts["train/good"] + counts["test/good"] == 588 + 920 and abs(counts["test/good"] - 208) <= 1
    assert [counts[name] for name in _ELPV_FOLDERS[2:]] == [313, 402, 295, 106]


def test_invalid_boxes_are_named_with_their_line(tmp_path):
    (tmp_path / "x.txt").write_text("1 2 3 4 1\n1 2 3 4 9\n")
    with pytest.raises(InputError, match="x.txt, line 2 is no box"):
        read_boxes(tmp_path / "x.txt")


def test_the_split_of_good_images_is_always_the_same(tmp_path):
    images = [tmp_path / f"{index}.png" for index in range(20)]
    split = split_good(images)
    assert split == split_good(images) and [part for _, part in split].count("test") == 5


@pytest.mark.slow
def test_deeppcb_as_published(tmp_path, deeppcb):
    findings = prepare("deeppcb", deeppcb, tmp_path / "d")
    assert [finding.kind for finding in findings] == ["left out"]  # the boards whose templates are trained on
    dataset = read_dataset(tmp_path / "d")
    assert dataset.counts == {"train/good": 40, "test/mixed": 40}
    references = {sample.reference.name for sample in dataset.select("test")}
    assert references == {sample.path.name for sample in dataset.select("test")}
    assert not references & {sample.path.name for sample in dataset.select("train")}  # no tested board's own template
    kinds = {note.kind for note in dataset.notes}
    assert {"own reference", "no good images"} <= kinds and "leak" not in kinds
    # 20085004.txt has the box 178 202 212 225 3 and others; 3 is mousebite.
    (sample,) = [sample for sample in dataset.samples if sample.path.name == "20085004.jpg" and sample.boxes]
    mask = np.asarray(Image.open(sample.mask))
    assert mask[202, 178] == mask[225, 212] == 255 and mask[0, 0] == 0
    assert Box("mousebite", 178, 202, 35, 24) in sample.boxes
    regions = find_regions(dataset, [sample.path], mask[None] > 0)
    assert (
        regions.names[regions.codes[0, 210, 190] - 1] == "mousebite"
        and (regions.codes[0] > 0).sum() == (mask > 0).sum()
    )


@pytest.mark.parametrize(("images", "tested"), [(102, 2), (140, 40), (150, 50), (300, 100), (952, 317)])
def test_of_many_tiles_two_thirds_are_trained_on_and_of_few_a_hundred(images, tested):
    assert magnetic_tile.held_out(images) == tested

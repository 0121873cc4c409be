"""Annotations of labeling programs become the masks that people drew, to the pixel, or are refused with their place."""

import csv
import json

import numpy as np
import pytest
from helpers.annotations import WRITERS, corners, prepared_masks, write_coco, write_cvat, write_labelme, write_yolo
from helpers.data import make_mvtec, save
from PIL import Image

from training_code.data.adapters import Target
from training_code.data.adapters.annotated import fill
from training_code.data.adapters.shapes import Region, compressed_counts, polygons
from training_code.data.dataset import examine
from training_code.data.findings import is_missing
from training_code.foundation.errors import InputError
from training_code.prepare_data import prepare

SIZES = [(48, 48), (31, 77), (77, 31), (5, 3)]


def _cases():
    """Masks with holes, several parts, single pixels, pixels at every edge, in images of several sizes, and none."""
    generator = np.random.default_rng(3)
    masks = {}
    ring = np.zeros((40, 60), bool)
    ring[5:30, 10:40], ring[10:20, 15:30], ring[14, 20], ring[39, 59] = True, False, True, True
    masks["ring"] = ring
    masks["pixel"] = np.zeros((33, 21), bool)
    masks["pixel"][7, 11] = True
    masks["frame"] = np.pad(np.zeros((10, 28), bool), 1, constant_values=True)
    masks["all"] = np.ones((9, 14), bool)
    for number, size in enumerate(SIZES):
        noise = generator.random(size) < generator.uniform(0.1, 0.9)
        noise[0, 0] = True
        masks[f"noise{number}"] = noise
    for number in range(6):
        masks[f"good{number}"] = np.zeros((24 + number, 30), bool)
    return {f"{name}.png": mask for name, mask in masks.items()}


MASKS = _cases()


def _images(root, masks):
    generator = np.random.default_rng(4)
    for name, mask in masks.items():
        save(root / name, generator.integers(0, 256, mask.shape, np.uint8))


@pytest.mark.parametrize("name", WRITERS)
def test_masks_that_a_format_holds_come_back_to_the_pixel(tmp_path, name):
    adapter, write = WRITERS[name]
    _images(tmp_path / "source", MASKS)
    write(tmp_path / "source", MASKS)
    assert not [finding for finding in prepare(adapter, tmp_path / "source", tmp_path / "d") if is_missing(finding)]
    found = prepared_masks(tmp_path / "d")
    expected = {name.removesuffix(".png"): mask for name, mask in MASKS.items() if mask.any()}
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)
    assert {path.parent.name for path in (tmp_path / "d").rglob("*.png") if "noise" in path.name} == {"dent"}
    dataset = examine(tmp_path / "d")
    assert {**dataset.counts} == {"train/good": 4, "test/dent": 8, "test/good": 2}


def _drawn(adapter, tmp_path, mask_size=(12, 12)):
    save(tmp_path / "s" / "a.png", np.zeros(mask_size, np.uint8))
    prepare(adapter, tmp_path / "s", tmp_path / "d")
    return prepared_masks(tmp_path / "d")["a"]


def test_a_hole_in_a_polygon_is_kept_where_its_outline_goes_there_and_back(tmp_path):
    """As YOLO's own tools join the parts of an object."""
    outline = [0, 0, 10, 0, 10, 10, 0, 10, 0, 0, 3, 3, 3, 7, 7, 7, 7, 3, 3, 3]
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.txt").write_text("0 " + " ".join(str(value / 12) for value in outline))
    expected = np.zeros((12, 12), bool)
    expected[:10, :10], expected[3:7, 3:7] = True, False
    np.testing.assert_array_equal(_drawn("yolo", tmp_path), expected)
    assert (tmp_path / "d" / "test" / "class_0" / "a.png").is_file(), "no file has the names of the classes"


def test_boxes_of_yolo_have_their_middle_in_parts_of_the_image(tmp_path):
    (tmp_path / "s" / "labels").mkdir(parents=True)
    save(tmp_path / "s" / "images" / "a.png", np.zeros((10, 20), np.uint8))
    (tmp_path / "s" / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n\n")
    (tmp_path / "s" / "labels" / "classes.txt").write_text("dent\nhair crack\n")
    prepare("yolo", tmp_path / "s", tmp_path / "d")
    expected = np.zeros((10, 20), bool)
    expected[3:7, 8:12] = True
    np.testing.assert_array_equal(prepared_masks(tmp_path / "d")["a"], expected)
    assert (tmp_path / "d" / "ground_truth" / "hair crack" / "a_mask.png").is_file()


def test_ellipses_and_turned_boxes_of_cvat_are_drawn_where_they_lie(tmp_path):
    ellipse = '<ellipse label="x" cx="6" cy="6" rx="4" ry="2" rotation="90"/>'
    box = '<box label="x" xtl="2" ytl="5" xbr="10" ybr="7" rotation="90"/>'
    rows, columns = np.mgrid[:12, :12] + 0.5  # the middle of each pixel
    upright = np.zeros((12, 12), bool)
    upright[2:10, 5:7] = True
    for number, (shape, expected) in enumerate(
        [(ellipse, ((rows - 6) / 4) ** 2 + ((columns - 6) / 2) ** 2 < 1), (box, upright)]
    ):
        folder = tmp_path / str(number)
        (folder / "s").mkdir(parents=True)
        write_cvat(folder / "s", {"a.png": np.ones((12, 12), bool)}, lambda _, shape=shape: shape)
        found = _drawn("cvat", folder)
        # pycocotools draws slanted edges within a fifth of a pixel.
        assert (found != expected).sum() <= (4 if number == 0 else 0), found.astype(int)


def test_circles_of_labelme_are_those_that_labelme_draws(tmp_path):
    circle = [{"label": "x", "shape_type": "circle", "points": [[6, 6], [6, 9]]}]
    (tmp_path / "s").mkdir()
    write_labelme(tmp_path / "s", {"a.png": np.ones((12, 12), bool)}, lambda _: circle)
    found = _drawn("labelme", tmp_path)
    assert found[6, 3] and found[6, 9] and found[3, 6] and found[9, 6] and not found[3, 3] and found.sum() == 37


def test_several_types_of_an_image_are_told_apart_by_their_places(tmp_path):
    shapes = [
        {"label": "scratch", "shape_type": "rectangle", "points": [[0, 0], [9, 9]]},
        {"label": "hole", "shape_type": "rectangle", "points": [[4, 4], [5, 5]]},
        {"label": "scratch", "shape_type": "rectangle", "points": [[11, 0], [11, 3]]},
    ]
    masks = {"a.png": np.ones((12, 12), bool), "b.png": np.zeros((12, 12), bool)}
    (tmp_path / "s").mkdir()
    write_labelme(tmp_path / "s", masks, lambda _: shapes)
    _images(tmp_path / "s", masks)
    prepare("labelme", tmp_path / "s", tmp_path / "d")
    with open(tmp_path / "d" / "defects.csv", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("test/scratch/a.png", "scratch", "0", "0", "10", "10"),
        ("test/scratch/a.png", "hole", "4", "4", "2", "2"),
        ("test/scratch/a.png", "scratch", "11", "0", "1", "4"),
    ] or rows == [
        ("test/scratch/a.png", "scratch", "0", "0", "10", "10"),
        ("test/scratch/a.png", "scratch", "11", "0", "1", "4"),
        ("test/scratch/a.png", "hole", "4", "4", "2", "2"),
    ], "the box of the hole comes after that which holds it"


def _tree(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))


def test_images_keep_the_split_of_their_source(tmp_path):
    mask, none = np.ones((12, 14), bool), np.zeros((12, 14), bool)
    masks = {}
    for place in ("train", "valid", "test"):
        masks |= {f"images/{place}/bad_{place}.png": mask, f"images/{place}/ok_{place}.png": none}
    _images(tmp_path / "s", masks)
    for name in masks:
        (tmp_path / "s" / name.replace("images", "labels")).parent.mkdir(parents=True, exist_ok=True)
    write_yolo(tmp_path / "s", {name.replace("images", "labels"): each for name, each in masks.items()})
    prepare("yolo", tmp_path / "s", tmp_path / "d")
    assert _tree(tmp_path / "d") == [
        "ground_truth/dent/bad_test_mask.png",
        "test/dent/bad_test.png",
        "test/good/ok_test.png",
        "train/good/ok_train.png",
        "validation/dent/bad_train.png",
        "validation/dent/bad_valid.png",
        "validation/good/ok_valid.png",
        "validation/ground_truth/dent/bad_train_mask.png",
        "validation/ground_truth/dent/bad_valid_mask.png",
    ]


def test_defects_of_a_source_that_has_none_to_test_on_are_tested_on(tmp_path):
    masks = {"train2017/a.png": np.ones((12, 14), bool), "train2017/b.png": np.zeros((12, 14), bool)}
    _images(tmp_path / "s", masks)
    write_coco(tmp_path / "s", masks, lambda _: [corners(0, 0, 14, 12)])
    prepare("coco", tmp_path / "s", tmp_path / "d")
    assert _tree(tmp_path / "d") == ["ground_truth/dent/a_mask.png", "test/dent/a.png", "train/good/b.png"]


def test_images_of_one_name_each_keep_their_own_mask(tmp_path):
    first, second = np.zeros((12, 14), bool), np.zeros((12, 14), bool)
    first[0, 0], second[3, 3] = True, True
    masks = {"x/a.png": first, "y/a.png": second, "b.png": first, "b.bmp": second, "good.png": first & False}
    _images(tmp_path / "s", masks)
    write_coco(tmp_path / "s", masks, lambda mask: [corners(0, 0, 1, 1) if mask[0, 0] else corners(3, 3, 4, 4)])
    prepare("coco", tmp_path / "s", tmp_path / "d")
    found = prepared_masks(tmp_path / "d")
    assert sorted(found) == ["b_bmp", "b_png", "x_a", "y_a"]
    assert found["x_a"][0, 0] and found["y_a"][3, 3] and found["b_png"][0, 0] and found["b_bmp"][3, 3]


@pytest.mark.parametrize("name", ["../../a.png", "/etc/a.png", "C:\\parts\\a.png", "..\\a.png", "file:///a.png"])
@pytest.mark.parametrize("adapter", ["coco", "cvat", "labelme", "voc"])
def test_names_in_annotations_lead_to_no_file_outside_of_the_source(tmp_path, adapter, name):
    save(tmp_path / "a.png", np.full((12, 14), 9, np.uint8))
    save(tmp_path / "s" / "in" / "b.png", np.zeros((12, 14), np.uint8))
    write = {
        "coco": lambda: write_coco(tmp_path / "s", {name: np.ones((12, 14), bool)}, lambda _: [[0, 0, 9, 0, 9, 9]]),
        "cvat": lambda: write_cvat(tmp_path / "s", {name: np.ones((12, 14), bool)}, lambda _: ""),
        "labelme": lambda: (tmp_path / "s" / "x.json").write_text(json.dumps({"shapes": [], "imagePath": name})),
        "voc": lambda: (tmp_path / "s" / "x.xml").write_text(f"<annotation><filename>{name}</filename></annotation>"),
    }
    write[adapter]()
    with pytest.raises(InputError, match=r"(instances|annotations|x)\.(json|xml).*: no image is called .*a\.png"):
        prepare(adapter, tmp_path / "s", tmp_path / "d")
    save(tmp_path / "s" / "in" / "a.png", np.zeros((12, 14), np.uint8))
    prepare(adapter, tmp_path / "s", tmp_path / "d")
    (copy,) = (tmp_path / "d").rglob("a.png")
    assert (np.asarray(Image.open(copy)) == 0).all(), "the image of the source, and not that beside it"


@pytest.mark.parametrize(
    "label", ["../../evil", "/etc", "..", "a\\b", "ground_truth", "Good", "x" * 300, "a\0b", " . "]
)
def test_labels_become_folders_inside_of_the_dataset(tmp_path, label):
    masks = {"a.png": np.ones((12, 14), bool)}
    _images(tmp_path / "s", masks)
    write_coco(tmp_path / "s", masks, lambda _: [corners(0, 0, 14, 12)], label)
    prepare("coco", tmp_path / "s", tmp_path / "d")
    (copy,) = (tmp_path / "d").rglob("a.png")
    assert copy.parents[1] == tmp_path / "d" / "test" and copy.parent.name.lower() not in ("good", "ground_truth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "s"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>\n<annotations>&b;</annotations>'
OUTSIDE = '<?xml version="1.0"?>\n<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n<annotation>&a;</annotation>'
IMAGE = '<annotations>\n<image id="0" name="a.png" width="14" height="12">\n{}\n</image>\n</annotations>'
OBJECT = "<annotation><filename>a.png</filename>\n<object><name>x</name>{}</object></annotation>"
BOX = "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"


def _coco(**changes):
    row = {"id": 7, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]} | changes.pop("row", {})
    images = [{"id": 1, "file_name": "a.png"} | changes.pop("image", {})]
    return json.dumps({"images": images, "annotations": [row], "categories": [{"id": 1, "name": "x"}]} | changes)


def _runs(counts, size=(12, 14)):
    return _coco(row={"segmentation": {"size": list(size), "counts": counts}})


def _labelme(**shape):
    return json.dumps({"imagePath": "a.png", "shapes": [{"label": "x", "points": [[0, 0], [4, 0], [4, 4]]} | shape]})


BROKEN = [
    ("coco", "a.json", "", r"a\.json is empty: it has zero bytes"),
    ("coco", "a.json", '{"images":\n [}', r"a\.json, line 2 is not valid JSON"),
    ("coco", "a.json", "[" * 100_000, r"a\.json is not valid JSON"),
    (
        "coco",
        "a.json",
        '{"shapes": [], "imagePath": ""}',
        r"s holds no annotations: expected JSON with images.*a\.json",
    ),
    ("coco", "a.json", "[1]", r"s holds no annotations: expected JSON with images, annotations, categories"),
    ("coco", None, "", r"s holds no annotations: expected JSON with images, annotations, categories, as COCO"),
    (
        "coco",
        "a.json",
        _coco(categories=[{"id": 1}]),
        r"a\.json, categories is not as COCO writes it .'name' is missing",
    ),
    ("coco", "a.json", _coco(images=[[]]), r"a\.json, images is not as COCO writes it"),
    ("coco", "a.json", _coco(annotations=[3]), r"a\.json, annotation 1 is not as COCO writes it"),
    ("coco", "a.json", _coco(annotations=None), r"a\.json, annotations is not as COCO writes it"),
    ("coco", "a.json", _coco(row={"image_id": 5}), r"annotation 7 is of the image 5, which the file does not have"),
    ("coco", "a.json", _coco(row={"category_id": None}), r"annotation 7 is of the category None, which the file"),
    ("coco", "a.json", _coco(row={"image_id": []}), r"annotation 7 is not as COCO writes it"),
    ("coco", "a.json", _coco(row={"segmentation": [[0, 0, 1]]}), r"annotation 7 is not as COCO writes it"),
    (
        "coco",
        "a.json",
        _coco(row={"segmentation": [[0, 0, 4, 4]]}),
        r"annotation 7 is a polygon of 2 corners; at least",
    ),
    ("coco", "a.json", _coco(row={"segmentation": [["x", 0]]}), r"annotation 7 is not as COCO writes it"),
    ("coco", "a.json", _coco(row={"segmentation": None}), r"annotation 7 is not as COCO writes it .'bbox' is missing"),
    (
        "coco",
        "a.json",
        _coco(row={"segmentation": [[0, 0, 1e9, 0, 4, 4]]}),
        r"annotation 7 has a corner at .1e\+09, 0., ",
    ),
    (
        "coco",
        "a.json",
        _coco(row={"segmentation": [[0, 0, float("nan"), 0, 4, 4]]}),
        r"a corner at .nan, 0., far outside",
    ),
    (
        "coco",
        "a.json",
        _coco(image={"width": 28, "height": 24}),
        r"7 is for an image of 28 × 24 pixels; it has 14 × 12",
    ),
    ("coco", "a.json", _runs([1, 2, 3]), r"annotation 7 has run lengths of 6 pixels; the image has 14 × 12"),
    ("coco", "a.json", _runs([200, -32]), r"annotation 7 has run lengths that are no whole numbers"),
    ("coco", "a.json", _runs([1, 2.5, 164.5]), r"annotation 7 has run lengths that are no whole numbers"),
    (
        "coco",
        "a.json",
        _runs([10**12], (10**6, 10**6)),
        r"annotation 7 is not as its program writes it .run lengths for",
    ),
    ("coco", "a.json", _runs("zz"), r"annotation 7 has compressed run lengths with 'z'"),
    ("coco", "a.json", _runs("PPP"), r"annotation 7 has compressed run lengths that are cut short"),
    ("coco", "a.json", _runs(""), r"annotation 7 has run lengths of 0 pixels"),
    ("coco", "a.json", _runs("0" * 50), r"annotation 7 has run lengths of 0 pixels"),
    ("cvat", "a.xml", "", r"a\.xml is empty"),
    ("cvat", "a.xml", "<annotations>\n<image", r"a\.xml, line 2 is not valid XML"),
    (
        "cvat",
        "a.xml",
        "<annotation/>",
        r"holds no annotations: expected XML with the root <annotations>.*a\.xml is none",
    ),
    ("cvat", "a.xml", BOMB, r"a\.xml, line 1 declares a document type"),
    (
        "cvat",
        "a.xml",
        '<?xml version="1.0" encoding="x-y"?><annotations/>',
        r"a\.xml is not valid XML .unknown encoding",
    ),
    (
        "cvat",
        "a.xml",
        "<annotations>\n<track/></annotations>",
        r"a\.xml, line 2 is a <track>, which is not of CVAT for im",
    ),
    ("cvat", "a.xml", "<annotations><image/></annotations>", r"a\.xml, line 1 is not as CVAT.*'name' is missing"),
    (
        "cvat",
        "a.xml",
        IMAGE.format('<polyline label="x"/>'),
        r"a\.xml, line 3 is a <polyline>, which has no area; valid: ",
    ),
    ("cvat", "a.xml", IMAGE.format('<polygon points="1,1"/>'), r"a\.xml, line 3 is not as CVAT.*'label' is missing"),
    ("cvat", "a.xml", IMAGE.format('<polygon label="x" points="1,1;2,2"/>'), r"line 3 is a polygon of 2 corners"),
    ("cvat", "a.xml", IMAGE.format('<polygon label="x" points="1,1;x"/>'), r"line 3 is not as CVAT"),
    (
        "cvat",
        "a.xml",
        IMAGE.format('<mask label="x" rle="1,2" left="0" top="0" width="2" height="2"/>'),
        r"a\.xml, line 3 is not as CVAT for images 1\.1 writes it .run lengths of 3 pixels for 2 × 2",
    ),
    (
        "cvat",
        "a.xml",
        IMAGE.format('<mask label="x" rle="0,4" left="13" top="0" width="2" height="2"/>'),
        r"a\.xml, line 3 is a mask of 2 × 2 pixels at .13, 0., which does not fit into 14 × 12 pixels",
    ),
    (
        "cvat",
        "a.xml",
        IMAGE.format(f'<mask label="x" rle="{10**14}" left="0" top="0" width="{10**7}" height="{10**7}"/>'),
        r"a\.xml, line 3 is not as its program writes it .a mask of 10000000 × 10000000 pixels",
    ),
    ("voc", "a.xml", OUTSIDE, r"a\.xml, line 2 declares a document type"),
    ("voc", "a.xml", "<annotations/>", r"holds no annotations: expected XML with the root <annotation>"),
    ("voc", "a.xml", "<annotation/>", r"a\.xml, line 1 has no element <filename> with a text"),
    ("voc", "a.xml", OBJECT.format(""), r"a\.xml, line 2 has 0 elements <bndbox>; one is expected"),
    ("voc", "a.xml", OBJECT.format(BOX.format("x")), r"a\.xml, line 2 is not as Pascal VOC writes it"),
    ("voc", "a.xml", OBJECT.format(BOX.format("")), r"a\.xml, line 2 has no element <xmin> with a text"),
    ("voc", "a.xml", OBJECT.format(BOX.format(4)), r"a\.xml, line 2 is a box from .4, 1. to .3, 3., which holds no"),
    ("voc", "a.xml", OBJECT.format(BOX.format(-900)), r"a\.xml, line 2 has a corner at .-901, 0., far outside"),
    ("labelme", "a.json", "", r"a\.json is empty"),
    ("labelme", "a.json", _coco(), r"holds no annotations: expected JSON with shapes, imagePath, as labelme"),
    (
        "labelme",
        "a.json",
        _labelme(shape_type="line"),
        r"a\.json, shape 1 is of the kind 'line', which has no area; valid",
    ),
    ("labelme", "a.json", _labelme(points=[[1]]), r"a\.json, shape 1 is not as labelme writes it"),
    ("labelme", "a.json", _labelme(points=[[0, 0], [1, 1]]), r"a\.json, shape 1 is not as labelme writes it"),
    (
        "labelme",
        "a.json",
        _labelme(points=[[0, 0], [1e12, 1], [2, 2]]),
        r"shape 1 has a corner at .1e\+12, 1., far outs",
    ),
    ("labelme", "a.json", _labelme(shape_type="mask"), r"a\.json, shape 1 is not as labelme writes it"),
    (
        "labelme",
        "a.json",
        _labelme(shape_type="mask", points=[[0, 0], [1, 1]], mask="AAAA"),
        r"a\.json, shape 1",
    ),
    ("yolo", "a.txt", "0 0.1 0.1 0.2 0.2\nx 0 0 1 1", r"a\.txt, line 2 is not as YOLO writes it"),
    ("yolo", "a.txt", "0 0.1 0.1 0.2", r"a\.txt, line 1 has 3 numbers after the class; valid: x y of 3 corners"),
    ("yolo", "a.txt", "0 0.1 0.1 0.2 0.2 0.9", r"a\.txt, line 1 has 5 numbers after the class"),
    ("yolo", "a.txt", "0 12 14 3 3", r"a\.txt, line 1 has numbers that are not from 0 to 1"),
    ("yolo", "a.txt", "0 nan 0 0 1 1 1", r"a\.txt, line 1 has numbers that are not from 0 to 1"),
    ("yolo", "b.txt", "", r"s holds no annotations: expected NAME\.txt beside each image, or in labels/"),
]


@pytest.mark.parametrize(("adapter", "name", "content", "words"), BROKEN)
def test_a_file_that_cannot_be_read_is_named_with_the_place_in_it(tmp_path, adapter, name, content, words):
    save(tmp_path / "s" / "a.png", np.zeros((12, 14), np.uint8))
    if name:
        (tmp_path / "s" / name).write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        prepare(adapter, tmp_path / "s", tmp_path / "d")
    assert "\n" not in str(caught.value) and not (tmp_path / "d").exists()


@pytest.mark.parametrize("adapter", ["coco", "cvat", "labelme", "voc", "yolo"])
def test_bytes_that_are_no_text_are_named(tmp_path, adapter):
    name = {"yolo": "a.txt", "cvat": "a.xml", "voc": "a.xml"}.get(adapter, "a.json")
    save(tmp_path / "s" / "a.png", np.zeros((12, 14), np.uint8))
    (tmp_path / "s" / name).write_bytes(b"\xff\xfe\x00\x80\x81")
    with pytest.raises(InputError, match=rf"{name}.* is (not valid|no text)"):
        prepare(adapter, tmp_path / "s", tmp_path / "d")


def test_a_class_of_yolo_without_a_name_is_named_with_its_line(tmp_path):
    save(tmp_path / "s" / "a.png", np.zeros((12, 14), np.uint8))
    (tmp_path / "s" / "data.yaml").write_text("names: [dent, crack]\n")
    (tmp_path / "s" / "a.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    with pytest.raises(InputError, match=r"a\.txt, line 1 is of the class 2; valid: 0 to 1"):
        prepare("yolo", tmp_path / "s", tmp_path / "d")


def test_files_of_other_programs_and_labels_without_image_are_told(tmp_path):
    _images(tmp_path / "s", MASKS)
    (tmp_path / "s" / "package.json").write_text("{}")
    write_coco(tmp_path / "s", MASKS, lambda _: [corners(0, 0, 3, 3)])
    (finding,) = prepare("coco", tmp_path / "s", tmp_path / "d")
    assert finding.path.name == "package.json" and "holds other content: expected JSON with images" in finding.what
    (tmp_path / "t" / "labels").mkdir(parents=True)
    save(tmp_path / "t" / "images" / "a.png", np.zeros((12, 14), np.uint8))
    for name in ("a", "b"):
        (tmp_path / "t" / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5")
    (finding,) = prepare("yolo", tmp_path / "t", tmp_path / "e")
    assert finding.path.name == "b.txt" and is_missing(finding)


@pytest.mark.parametrize("name", [name for name in WRITERS if name.split()[0] in ("CVAT", "YOLO", "VOC")])
def test_annotations_beside_images_are_named_with_the_adapter_that_reads_them(tmp_path, name):
    adapter, write = WRITERS[name]
    root = make_mvtec(tmp_path / "d", masks=False)
    _images(root / "test" / "bar", MASKS)
    write(root / "test" / "bar", MASKS)
    (finding,) = [each for each in examine(root).findings if each.kind == "annotations"]
    assert f"prepare_data {adapter} {root} NEW_FOLDER" in finding.what and is_missing(finding)


def test_short_run_lengths_never_show_memory_that_nobody_wrote(tmp_path):
    """What pycocotools itself does with them."""
    save(tmp_path / "a.png", np.zeros((12, 14), np.uint8))
    region = Region("x", "here", lambda width, height: compressed_counts("12", width, height))
    with pytest.raises(InputError, match="here has run lengths of 3 pixels"):
        fill(tmp_path, Target(tmp_path / "d"), [tmp_path / "a.png"], {tmp_path / "a.png": [region]})


def test_large_images_of_many_regions_need_the_memory_of_one_mask(tmp_path):
    import resource

    save(tmp_path / "a.png", np.zeros((4000, 4000), np.uint8))
    corner = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    regions = [Region("x", "here", lambda width, height: polygons([corner], width, height))] * 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fill(tmp_path, Target(tmp_path / "d"), [tmp_path / "a.png"], {tmp_path / "a.png": regions})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024, "200 masks are 3 GB"

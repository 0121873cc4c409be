import json
import re

import numpy as np
import pytest
from helpers.data import save
from PIL import Image

from training_code.data.masks.mask_builder import binary_mask, build_masks, main, read_label_colors
from training_code.foundation.errors import run_command

# As Unity's Perception package writes them, version 0.x, and as SOLO datasets have them.
PERCEPTION = {
    "version": "0.0.1",
    "annotation_definitions": [
        {"id": "a", "name": "bounding box", "spec": [{"label_id": 1, "label_name": "nail"}]},
        {
            "id": "b",
            "name": "semantic segmentation",
            "spec": [
                {"label_name": "nail", "pixel_value": {"r": 1.0, "g": 0.0, "b": 0.0, "a": 1.0}},
                {"label_name": "hole", "pixel_value": {"r": 0.0, "g": 0.4980392, "b": 1.0, "a": 1.0}},
            ],
        },
    ],
}
SOLO_DEFINITIONS = {
    "annotationDefinitions": [
        {
            "@type": "type.unity.com/unity.solo.SemanticSegmentationAnnotation",
            "id": "semantic segmentation",
            "spec": [
                {"label_name": "nail", "pixel_value": [255, 0, 0, 255]},
                {"label_name": "hole", "pixel_value": [0, 127, 255, 255]},
            ],
        }
    ]
}
SOLO_FRAME = {
    "frame": 0,
    "captures": [
        {
            "id": "camera",
            "annotations": [
                {
                    "@type": "type.unity.com/unity.solo.SemanticSegmentationAnnotation",
                    "instances": [
                        {"labelName": "nail", "pixelValue": [255, 0, 0, 255]},
                        {"labelName": "hole", "pixelValue": [0, 127, 255, 255]},
                    ],
                }
            ],
        }
    ],
}
SOLO_NAMES = {
    "spec": [
        {"name": "nail", "pixel_value": {"r": 255, "g": 0, "b": 0}},
        {"name": "hole", "pixel_value": {"r": 0, "g": 127, "b": 255}},
    ]
}


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("content", [PERCEPTION, SOLO_DEFINITIONS, SOLO_FRAME, SOLO_NAMES])
def test_the_colors_of_labels_are_read_from_every_kind_of_label_file(tmp_path, content):
    colors = read_label_colors(_write(tmp_path / "x.json", content))
    assert colors == {"nail": (255, 0, 0), "hole": (0, 127, 255)}


def _segmentation(noise=0):
    pixels = np.zeros((8, 10, 3), np.uint8)
    pixels[1:3, 2:5] = (255 - noise, noise, 0)
    pixels[5:8, 0:4] = (0, 127, 255)
    return pixels


def test_chosen_labels_become_white_in_whole_folders(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        save(tmp_path / "seg" / name, _segmentation())
    definitions = _write(tmp_path / "annotation_definitions.json", PERCEPTION)
    assert build_masks(tmp_path / "seg", tmp_path / "masks", definitions, ["nail"]) == 3
    mask = np.asarray(Image.open(tmp_path / "masks" / "b" / "3_mask.png"))
    expected = np.zeros((8, 10), np.uint8)
    expected[1:3, 2:5] = 255
    assert np.array_equal(mask, expected)
    build_masks(tmp_path / "seg", tmp_path / "both", definitions, ["nail", "hole"])
    assert (np.asarray(Image.open(tmp_path / "both" / "a" / "1_mask.png")) > 0).sum() == 6 + 12


def test_tolerance_is_by_channel():
    noisy = _segmentation(noise=3)
    assert binary_mask(noisy, [(255, 0, 0)]).sum() == 0
    assert binary_mask(noisy, [(255, 0, 0)], 3).sum() == 6
    assert binary_mask(noisy, [(255, 0, 0)], (3, 2, 0)).sum() == 0
    assert binary_mask(noisy, [(255, 0, 0)], (3, 3, 0)).sum() == 6


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (PERCEPTION, ["--label", "nails"], "unknown label of .* 'nails' .did you mean 'nail'.*valid: nail, hole"),
        (PERCEPTION, ["--label", "nail", "--tolerance", "128"], "a tolerance of 128 does not tell apart"),
        (PERCEPTION, ["--label", "nail", "--tolerance", "1", "2"], "must be one number or three"),
        ("{", ["--label", "nail"], "is not valid JSON"),
        ({}, ["--label", "nail"], "has no label with a color"),
        (
            {"name": "nail", "pixel_value": "red"},
            ["--label", "nail"],
            "color of the label 'nail' is not red, green and blue",
        ),
        (
            [{"name": "nail", "pixel_value": [1, 2, 3]}, {"name": "nail", "pixel_value": [3, 2, 1]}],
            ["--label", "nail"],
            "gives the label 'nail' two colors",
        ),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, content, arguments, words, capsys):
    save(tmp_path / "seg" / "1.png", _segmentation())
    definitions = _write(tmp_path / "x.json", content)
    paths = [str(tmp_path / "seg"), str(tmp_path / "masks"), "--definitions", str(definitions)]
    assert run_command(main, [*paths, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(words, said), said


def test_the_command_makes_masks(tmp_path, capsys):
    save(tmp_path / "seg" / "1.png", _segmentation())
    definitions = _write(tmp_path / "x.json", PERCEPTION)
    arguments = [str(tmp_path / "seg"), str(tmp_path / "masks"), "--definitions", str(definitions), "--label", "hole"]
    assert run_command(main, arguments) == 0
    assert capsys.readouterr().out.startswith("1 masks")

"""Images from anywhere become what training made of the same file."""

import numpy as np
import pytest
import torch
from helpers.bad_files import IMAGES
from helpers.data import texture
from PIL import Image

from inference_code.images import prepare
from training_code.data.images import read_image, shown_image
from training_code.data.resizing import load_image, resize_pixels
from training_code.foundation.errors import InputError

GOOD = [entry for entry in IMAGES if entry[3] == "converted"]
BAD = [entry for entry in IMAGES if entry[3] == "refused" and entry[0] != "negative.tif"]


@pytest.mark.parametrize("size", [(48, 64), (31, 17), (256, 300)])
def test_pixels_are_resized_as_training_does_bit_for_bit(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert torch.equal(resize_pixels(pixels, size), load_image(tmp_path / "a.png", size))


@pytest.mark.parametrize(("name", "make"), [entry[:2] for entry in GOOD], ids=[entry[0] for entry in GOOD])
def test_a_file_of_an_unusual_kind_is_read_as_in_training(tmp_path, name, make):
    make(tmp_path / name)
    prepared = prepare(tmp_path / name, (32, 40), 12)
    assert torch.equal(prepared.tensor, load_image(tmp_path / name, (32, 40), 12))
    shown = np.asarray(shown_image(tmp_path / name))
    assert prepared.size == shown.shape[:2]
    np.testing.assert_allclose(prepared.pixels, shown, atol=1)
    with Image.open(tmp_path / name) as image:
        assert torch.equal(prepare(image, (32, 40), 12).tensor, prepared.tensor), "from Pillow as from the file"


@pytest.mark.parametrize(("name", "make", "words"), [entry[:3] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_a_bad_file_is_refused_with_the_reason(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError) as error:
        prepare(tmp_path / name, (32, 32), 16)
    assert words in str(error.value)


def test_pixels_of_large_files_are_not_kept(tmp_path):
    Image.new("L", (2048, 2049)).save(tmp_path / "large.png")
    Image.fromarray(texture(np.random.default_rng(0))).save(tmp_path / "small.png")
    assert prepare(tmp_path / "large.png", (32, 32), 16).pixels is None
    assert (prepare(tmp_path / "small.png", (32, 32), 16).pixels == read_image(tmp_path / "small.png")).all()

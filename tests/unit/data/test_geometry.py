"""Where a photograph lies in what networks see, and the way back."""

from functools import cache

import numpy as np
import pytest
import torch
from helpers.data import save
from torchvision.transforms.v2.functional import center_crop

from training_code.data.boxes import Box, typed_regions
from training_code.data.geometry import FILL, OUTSIDE, Geometry, inside
from training_code.data.region_of_interest import RegionOfInterest
from training_code.data.resizing import load_image, load_mask
from training_code.foundation.errors import InputError
from training_code.protocol import ExperimentProtocol

HEIGHT, WIDTH = 64, 128  # of a photograph
TOP, LEFT, SIDE = 24, 56, 16  # of a square in its middle
NAMES = (
    *("stretch", "letterbox", "crop", "stretch, center_crop", "letterbox, center_crop", "crop, center_crop"),
    *("region", "letterbox, region", "crop, center_crop, region"),
)


@cache
def _middle():
    """Return a region in the middle of the photograph."""
    return RegionOfInterest(np.pad(np.ones((HEIGHT - 16, WIDTH - 32), bool), ((8, 8), (16, 16))))


def _geometry(name):
    return dict(
        zip(
            NAMES,
            (
                Geometry((64, 64)),
                Geometry((64, 64), "letterbox"),
                Geometry((64, 64), "crop"),
                Geometry((64, 64), center_crop=(56, 48)),
                Geometry((80, 64), "letterbox", (64, 48)),
                Geometry((64, 64), "crop", (48, 48)),
                Geometry((64, 64), region=_middle()),
                Geometry((96, 64), "letterbox", region=_middle()),
                Geometry((64, 64), "crop", (48, 48), _middle()),
            ),
            strict=True,
        )
    )[name]


@pytest.fixture
def photograph(tmp_path):
    """A gray photograph with a white square, twice as wide as high."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 255
    return save(tmp_path / "photograph.png", pixels)


@pytest.fixture
def mask(tmp_path):
    """The mask of its square."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 255
    return save(tmp_path / "mask.png", pixels)


def _extent(marked):
    """Return top, left, height and width of what is marked."""
    rows, columns = (np.flatnonzero(marked.any(axis)) for axis in (1, 0))
    return rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def test_a_letterbox_keeps_squares_square_and_fills_what_is_left(photograph, mask):
    geometry = _geometry("letterbox")
    image, marked = load_image(photograph, geometry), load_mask(mask, geometry).numpy() > 0
    assert image.shape == (3, 64, 64) and _extent(marked) == (28, 28, 8, 8)
    fill = torch.tensor(FILL)[:, None, None]
    assert torch.equal(image[:, :16], fill.expand(3, 16, 64)) and torch.equal(image[:, 48:], fill.expand(3, 16, 64))
    seen = geometry.place((HEIGHT, WIDTH)).seen
    assert seen[16:48].all() and not seen[:16].any() and not seen[48:].any()
    assert geometry.place((50, 50)).seen is None, "a square photograph fills the square"


def test_a_crop_takes_the_middle_of_what_covers_the_image(photograph, mask):
    geometry = _geometry("crop")
    whole = load_image(photograph, (HEIGHT, WIDTH))
    assert torch.equal(load_image(photograph, geometry), whole[:, :, 32:96])
    assert _extent(load_mask(mask, geometry).numpy() > 0) == (TOP, LEFT - 32, SIDE, SIDE)


@pytest.mark.parametrize(("size", "kept"), [((256, 256), (224, 224)), ((65, 64), (34, 33))])
def test_the_middle_is_cut_out_as_torchvision_does(photograph, size, kept):
    expected = center_crop(load_image(photograph, size), list(kept))
    assert torch.equal(load_image(photograph, Geometry(size, center_crop=kept)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_over_a_defect_lies_over_it_in_the_photograph(mask, name):
    geometry = _geometry(name)
    placement = geometry.place((HEIGHT, WIDTH))
    seen_there = load_mask(mask, geometry).numpy().astype(np.float32)
    assert seen_there.shape == geometry.size
    on_photograph = placement.to_photograph(placement.leave_out(seen_there, 1.0)[0])
    assert on_photograph.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(_extent(on_photograph > 0.5), (TOP, LEFT, SIDE, SIDE), atol=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_pixel_is_looked_at_in_the_photograph_where_networks_see_it(name):
    geometry = _geometry(name)
    placement = geometry.place((HEIGHT, WIDTH))
    found, _ = placement.leave_out(np.ones(geometry.size, np.float32), 1.0)
    on_photograph = placement.to_photograph(found)
    looked_at = placement.looked_at()
    assert np.array_equal(on_photograph > OUTSIDE, np.ones((HEIGHT, WIDTH), bool) if looked_at is None else looked_at)
    assert (inside(on_photograph) == 1).all(), "what is left out must not mix into what is looked at"
    assert placement.to_photograph(found, (32, 64)).shape == (32, 64)


def test_only_what_is_looked_at_gives_the_score():
    placement = Geometry((64, 64), region=_middle()).place((HEIGHT, WIDTH))
    anomaly_map = np.zeros((64, 64), np.float32)
    anomaly_map[0, 0], anomaly_map[32, 32] = 9, 2
    left, score = placement.leave_out(anomaly_map, 9.0)
    assert score == 2 and left[0, 0] == OUTSIDE and left.max() == 2
    assert _geometry("crop").place((HEIGHT, WIDTH)).leave_out(anomaly_map, 7.0) == (anomaly_map, 7.0)


def test_what_lies_outside_of_the_region_changes_nothing_that_networks_see(tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    glaring = np.where(_middle().mask[..., None], pixels, 255).astype(np.uint8)
    for size in ((64, 64), (40, 56), (96, 160)):
        geometry = Geometry(size, region=_middle())
        first, second = (
            load_image(save(tmp_path / name, each), geometry) for name, each in (("a.png", pixels), ("b.png", glaring))
        )
        assert torch.equal(first, second)


def test_types_of_defects_are_found_where_the_photograph_lies():
    masks = np.ones((1, 64, 64), bool)
    box = Box("short", LEFT, TOP, SIDE, SIDE)
    regions = typed_regions([[box]], [(HEIGHT, WIDTH)], masks, _geometry("letterbox"))
    assert _extent(regions.codes[0] > 0) == (28, 28, 8, 8)


def test_a_region_that_is_cut_away_is_an_error():
    corner = RegionOfInterest(np.pad(np.ones((4, 4), bool), ((0, 60), (0, 124))))
    with pytest.raises(InputError, match="nothing is left to look at of a photograph of 64 × 128 pixels"):
        _ = Geometry((64, 64), "crop", region=corner).place((HEIGHT, WIDTH)).seen


def test_images_of_each_geometry_are_kept_apart_and_those_of_earlier_versions_are_found():
    keys = [_geometry(name).key for name in NAMES]
    assert len({str(key) for key in keys}) == len(keys)
    assert _geometry("stretch").key == ((64, 64),)


def test_the_defaults_are_no_part_of_the_name_of_a_run():
    assert {"resize", "center_crop"}.isdisjoint(ExperimentProtocol().identifying)
    assert ExperimentProtocol(resize="crop", center_crop=224).identifying["center_crop"] == (224, 224)
    assert ExperimentProtocol(image_size=64, center_crop=64) == ExperimentProtocol(image_size=64), "nothing is cut off"

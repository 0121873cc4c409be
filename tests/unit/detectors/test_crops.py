import pytest
import torch

from training_code.detectors.autoencoder.crops import cover, dominant_color, in_crops, positions, random_crops


@pytest.mark.parametrize(
    ("side", "expected"), [(256, [0, 32, 64, 96, 128]), (128, [0]), (200, [0, 32, 64, 72]), (129, [0, 1])]
)
def test_crops_reach_the_border_whatever_the_size_of_the_image(side, expected):
    assert positions(side, 128, 32) == expected


@pytest.mark.parametrize("size", [(48, 48), (50, 77), (32, 33)])
def test_what_leaves_crops_as_they_are_leaves_images_as_they_are(size):
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(in_crops(images, 32, 10, lambda crops: crops), images)


def test_overlapping_crops_are_averaged_by_how_many_there_are_at_each_pixel():
    seen = []

    def number(crops):  # each crop is filled with its number
        values = torch.arange(len(seen), len(seen) + len(crops), dtype=torch.float32)
        seen.extend(values.tolist())
        return torch.ones_like(crops) * values[:, None, None, None]

    made = in_crops(torch.rand(1, 1, 4, 6), 4, 2, number)  # crops at 0 and 2
    assert made[0, 0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_crops_are_parts_of_their_images_turned_and_mirrored_only_where_that_is_allowed():
    torch.manual_seed(0)
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    plain = random_crops(image.expand(50, -1, -1, -1), 4, rotation=False, flip=False)
    assert (plain[:, 0, 0, 1] - plain[:, 0, 0, 0] == 1).all() and (plain[:, 0, 1, 0] - plain[:, 0, 0, 0] == 6).all()
    assert len({float(crop[0, 0, 0]) for crop in plain}) == 9, "every place is drawn"
    turned = random_crops(image.expand(50, -1, -1, -1), 4, rotation=True, flip=False)
    assert {float(crop[0, 0, 1] - crop[0, 0, 0]) for crop in turned} == {1, -6, -1, 6}
    mirrored = random_crops(image.expand(50, -1, -1, -1), 4, rotation=False, flip=True)
    assert {float(crop[0, 0, 1] - crop[0, 0, 0]) for crop in mirrored} == {1, -1}
    assert {float(crop[0, 1, 0] - crop[0, 0, 0]) for crop in mirrored} == {6}


def test_the_dominant_color_is_that_of_most_pixels_not_the_mean():
    crop = torch.full((1, 3, 4, 4), 0.9)
    crop[0, :, :3] = torch.tensor([0.1, 0.3, 0.5])[:, None, None]  # 12 of 16 pixels
    torch.testing.assert_close(dominant_color(crop), torch.tensor([[0.1, 0.3, 0.5]]))


def test_squares_cover_crops_in_their_dominant_color_and_the_mask_says_where():
    torch.manual_seed(1)
    crops = torch.full((2, 1, 32, 32), 0.2)
    crops[:, :, :4] = 0.95
    covered, mask = cover(crops, square_size=6, num_squares=3)
    assert mask.dtype == torch.bool and mask.shape == (2, 1, 32, 32)
    assert (mask.sum((1, 2, 3)) > 36).all() and (mask.sum((1, 2, 3)) <= 108).all()
    assert torch.equal(covered[~mask], crops[~mask])
    torch.testing.assert_close(covered[mask], torch.full_like(covered[mask], 0.2))

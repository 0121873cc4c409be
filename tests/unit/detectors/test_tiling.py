"""Tiles are images of their own to a detector, and what it finds in them becomes one map without seams."""

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch, InferenceBatch

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.detectors import tiling
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import configure
from training_code.detectors.tiling import Tiles, predict, tiles_for, tiles_of
from training_code.features.extractor import TORCH
from training_code.tiling import Tiling

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
LAYER = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}
PADIM, PATCHCORE = LAYER | {"n_features": 8}, LAYER | {"coreset_sampling_ratio": 0.2, "num_neighbors": 1}
EVERYTHING = LAYER | {"coreset_sampling_ratio": 1.0, "num_neighbors": 1}
SUBSPACE = LAYER | {"n_components": 3}
SUBSPACES = SUBSPACE | {"by_position": True}


def _build(name, arguments, size, tile=None):
    torch.manual_seed(0)
    network = load_backbone(find_weights(get_backbone("efficientnet_lite0")))
    frame = tiles_for(size, None if tile is None else Tiling(*tile))
    return build_detector(configure(name, arguments), network, frame, (MEAN, STD), TORCH).eval()


def _fit(detector, images, keep=False):
    """Fit a detector as its training does, three images at a time."""
    if keep:
        detector.keep_features()
    detector.train()
    for number, batch in enumerate(image_transform(detector)(images).split(3)):
        paths = [f"{3 * number + index}.png" for index in range(len(batch))]
        detector.training_step(ImageBatch(image=batch, image_path=paths))
    torch.manual_seed(1)
    detector.fit()
    return detector.eval()


def _predict(detector, images):
    with torch.no_grad():
        found = predict(detector.model, tiles_of(detector), images, image_transform(detector))
    return found.pred_score.flatten(), found.anomaly_map.reshape(len(images), *images.shape[-2:])


def _texture(count, size, seed=0, noise=0.02):
    """Return stripes of a period that divides all distances between tiles, with noise."""
    generator = torch.Generator().manual_seed(seed)
    stripes = 0.5 + 0.2 * torch.sin(torch.arange(size) * 2 * torch.pi / 8)
    return (
        stripes.expand(count, 3, size, size) + noise * torch.randn(count, 1, size, size, generator=generator)
    ).clamp(0, 1)


def test_weights_fall_linearly_towards_the_border_of_a_tile():
    tiles = Tiles(Tiling((8, 8), 4), (8, 12))
    left, right = (tiles.weights(tile, torch.device("cpu"))[0].tolist() for tile in (0, 1))
    assert left == [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert right == left[::-1]


@pytest.mark.parametrize("overlap", [0, 5, 20, 31])
@pytest.mark.parametrize("size", [(32, 33), (64, 64), (70, 101)])
def test_maps_of_tiles_are_put_together_to_what_was_cut(size, overlap, monkeypatch):
    monkeypatch.setattr(tiling, "AT_ONCE", 3)
    tiles = Tiles(Tiling((32, 32), overlap), size)
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    seen = []

    def model(part):
        seen.append(part.shape)
        return InferenceBatch(pred_score=part[:, 0].amax((1, 2)), anomaly_map=part[:, :1])

    found = predict(model, tiles, images)
    torch.testing.assert_close(found.anomaly_map, images[:, :1])
    assert torch.equal(found.pred_score[:, 0], images[:, 0].amax((1, 2)))
    assert all(shape[0] <= 3 and shape[-2:] == (32, 32) for shape in seen), "memory stays bounded"
    each = [(part[:, 0].amax((1, 2)), part[:, :1]) for part in tiles.in_order(images)]
    (first, second) = tiles.join(each)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), images[:, :1])
    assert torch.equal(torch.cat([first[0], second[0]]), found.pred_score)


@pytest.mark.parametrize(("name", "arguments"), [("Padim", PADIM), ("Patchcore", PATCHCORE)])
def test_the_score_of_an_image_is_the_highest_of_its_tiles_each_an_image_of_its_own(name, arguments):
    images = _texture(6, 96)
    detector = _fit(_build(name, arguments, (96, 96), ((64, 64), 32)), images)
    scores, maps = _predict(detector, images[:2])
    if name == "Patchcore":
        whole = _build(name, arguments, (64, 64))
        whole.model.memory_bank = detector.model.memory_bank
    each = []
    for tile in range(4):
        part = detector.tiles.cut(images[:2], tile)
        if name == "Padim":  # a detector of that tile alone gives the same
            whole = _build(name, arguments, (64, 64))
            whole = _fit(whole, detector.tiles.cut(images, tile))
        each.append(_predict(whole, part))
    torch.testing.assert_close(scores, torch.stack([score for score, _ in each]).amax(0))
    torch.testing.assert_close(maps[:, :32, :32], each[0][1][:, :32, :32], msg="pixels of a single tile are its own")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("Padim", PADIM), ("Patchcore", EVERYTHING), ("Subspace", SUBSPACE), ("Subspace", SUBSPACES)],
    ids=["PaDiM", "PatchCore", "one subspace", "a subspace at each position"],
)
@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 3, 3]], ids=["alone", "siblings"])
def test_an_image_is_left_out_with_all_its_tiles_and_those_of_its_group(name, arguments, groups):
    images, groups = _texture(6, 80), torch.tensor(groups)
    size, tile = (80, 80), ((64, 64), 16)
    detector = _fit(_build(name, arguments, size, tile), images, keep=True)
    assert detector.trained_on == [f"{number}.png" for number in range(6)]
    altered = images[:2].clone()
    altered[:, :, 60:70, 60:70] = 1
    with torch.no_grad():
        others = detector.collection()
        others.append(detector.embed(image_transform(detector)(altered)))
        found = list(detector.left_out(groups, others, groups[:2]))
    assert len(found) == 8
    for group in groups.unique():
        without = _fit(_build(name, arguments, size, tile), images[groups != group])
        for place in (groups == group).nonzero().flatten().tolist():
            said = [(images, place), (altered, 6 + place)][: 2 if place < 2 else 1]
            for image, (score, anomaly_map) in ((image, found[number]) for image, number in said):
                expected = _predict(without, image[place : place + 1])
                torch.testing.assert_close(score.flatten(), expected[0], rtol=1e-3, atol=1e-3)
                torch.testing.assert_close(anomaly_map[0], expected[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "arguments"), [("Padim", PADIM), ("Patchcore", PATCHCORE)])
def test_borders_of_tiles_are_not_visible_in_the_map_of_a_constant_texture(name, arguments, monkeypatch):
    size = 160
    detector = _fit(_build(name, arguments, (size, size), ((64, 64), 16)), _texture(24, size))
    images, tiles = _texture(32, size, seed=5), detector.tiles
    begins = sorted({left for _, left in tiles.places})
    assert begins == [0, 48, 96]
    borders = [place for begin in begins for place in (begin, begin + 64) if 0 < place < size]

    def steps():
        """Return the mean step from one row, and from one column, to the next: at borders of tiles, and elsewhere."""
        maps = _predict(detector, images)[1]
        at = torch.zeros(size - 1, dtype=torch.bool)
        at[[place - 1 for place in borders]] = True
        for axis, mean in ((1, (0, 2)), (2, (0, 1))):
            found = maps.diff(dim=axis).abs().mean(mean)
            yield found[at].max(), found[~at].max()
        level = maps.mean((0, 1))
        assert (level[borders] / level.mean() - 1).abs().max() < 0.05, "they are neither brighter nor darker"

    assert all(at <= elsewhere for at, elsewhere in steps())
    covered = torch.zeros(1, size, size)
    hard = []
    for tile in range(len(tiles)):  # each pixel from the first tile that has it
        hard.append(1 - tiles.cut(covered, tile)[0].clone())
        tiles.cut(covered, tile)[:] = 1
    monkeypatch.setattr(tiles, "weights", lambda tile, device: hard[tile])
    assert all(at > 1.5 * elsewhere for at, elsewhere in steps()), "without blending they are"


def test_a_defect_of_twelve_pixels_is_found_in_a_photograph_of_4096_pixels_which_the_resized_one_loses():
    side, top, left = 4096, 1500, 2900
    generator = np.random.default_rng(0)

    def photograph():
        clouds = torch.from_numpy(generator.normal(0.5, 0.05, (1, 1, 256, 256)).astype(np.float32))
        grain = torch.from_numpy(generator.standard_normal((side, side), np.float32))
        clouds = torch.nn.functional.interpolate(clouds, (side, side), mode="bicubic")[0, 0]
        return (clouds + 0.02 * grain).clamp(0, 1)

    train, good = photograph(), photograph()  # with clouds as large as pixels of the resized one
    bad = good.clone()
    bad[top : top + 3, left : left + 4] = 0.9

    def find(size, tile):
        def batch(image):
            small = torch.nn.functional.interpolate(image[None, None], (size, size), mode="area")
            return small.expand(1, 3, size, size)

        arguments = LAYER | {"coreset_sampling_ratio": 0.0005 if tile else 0.1, "num_neighbors": 1}
        detector = _fit(_build("Patchcore", arguments, (size, size), tile), batch(train))
        return [_predict(detector, batch(image)) for image in (good, bad)]

    (good_score, _), (bad_score, _) = find(256, None)
    assert bad_score < 1.1 * good_score, "resized, the photograph looks as a good one"
    (good_score, _), (bad_score, bad_map) = find(side, ((512, 512), 64))
    assert bad_score > 1.2 * good_score
    highest = divmod(int(bad_map.argmax()), side)
    assert abs(highest[0] - top) < 16 and abs(highest[1] - left) < 16

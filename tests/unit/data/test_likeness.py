"""Copies are found among any number of images, and the time does not grow with the square of it."""

import numpy as np
import pytest
from scipy import ndimage

from training_code.data import likeness
from training_code.data.likeness import COPY, alike_pairs
from training_code.data.neighborhoods import LEAF, TREES, neighborhoods, spanning_pairs

SIDE = 32


def _thumbnails(count, seed=0):
    """Return smooth images, of which one does not resemble the other."""
    noise = np.random.default_rng(seed).normal(size=(count, SIDE, SIDE))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
    return np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)


def _with_copies(count, copies):
    """Return images behind which copies of the first ones stand: brighter, noisy, moved by a part of a pixel."""
    images = _thumbnails(count)
    generator = np.random.default_rng(1)
    copied = []
    for number in range(copies):
        image = images[number].astype(float)
        image = [
            0.8 * image + 30,
            image + generator.normal(0, 2, image.shape),
            ndimage.shift(image, 0.2, mode="nearest"),
        ][number % 3]
        copied.append(np.clip(image, 0, 255).astype(np.uint8))
    return [*images, *copied]


def test_copies_among_many_images_are_those_that_a_comparison_of_all_pairs_finds(monkeypatch):
    images = _with_copies(1200, 60)
    planted = {(number, 1200 + number) for number in range(60)}
    among_all = alike_pairs(images)
    monkeypatch.setattr(likeness, "ALL_PAIRS", 100)
    among_neighbors = alike_pairs(images)
    assert {(one, other) for one, other, ratio in among_all if ratio < COPY} == planted
    assert {(one, other) for one, other, ratio in among_neighbors if ratio < COPY} == planted


def test_many_copies_of_one_image_are_joined_by_few_pairs(monkeypatch):
    monkeypatch.setattr(likeness, "ALL_PAIRS", 100)
    image, generator = _thumbnails(1, seed=5)[0].astype(float), np.random.default_rng(2)
    copies = [np.clip(image + generator.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(300)]
    pairs = alike_pairs([*_thumbnails(900), *copies])
    assert len(pairs) <= TREES * 300
    joined = {900}
    while more := {number for one, other, _ in pairs if {one, other} & joined for number in (one, other)} - joined:
        joined |= more
    assert joined == {*range(900, 1200)}


def test_each_tree_has_every_image_once_in_few_neighborhoods_of_bounded_size():
    vectors = _thumbnails(3000).reshape(3000, -1)[:, ::4].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    leaves = list(neighborhoods(vectors))
    assert len(leaves) == TREES * 16 and max(map(len, leaves)) <= LEAF
    assert np.array_equal(np.bincount(np.concatenate(leaves)), np.full(3000, TREES))
    again = list(neighborhoods(vectors))
    assert all(np.array_equal(one, other) for one, other in zip(leaves, again, strict=True))


@pytest.mark.parametrize("limit", [0.1, 0.25, 0.45])
def test_the_pairs_that_are_left_join_what_all_of_them_join(limit):
    places = np.array([0.0, 0.0, 0.2, 0.3, 0.7])
    distances = np.abs(places[:, None] - places).astype(np.float32)
    found = {(one, other) for one, other, _ in spanning_pairs(distances, limit)}
    first = {(0, 2), (1, 2)} & found
    assert found - first == {0.1: {(0, 1)}, 0.25: {(0, 1), (2, 3)}, 0.45: {(0, 1), (2, 3), (3, 4)}}[limit]
    assert len(first) == (limit > 0.1)

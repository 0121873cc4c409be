"""Training images that the seed draws: the fewer among the more, parts as a whole, test images as they are."""

import shutil

import pytest
from helpers.data import make_mvtec

from training_code.data.dataset import read_dataset
from training_code.data.drawn import take_few
from training_code.data.groups import write_groups
from training_code.data.labelled import labelled_sha256, take_labelled
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions
from training_code.protocol import ExperimentProtocol


@pytest.fixture
def dataset(tmp_path):
    return read_dataset(make_mvtec(tmp_path / "parts", train=12, good=4, defective=4))


def _drawn(dataset, images, seed=3):
    found = take_few(dataset, images, seed).select("train")
    return {dataset.facts[sample.path].sha256 for sample in found}


def test_the_fewer_are_among_the_more_and_the_test_images_and_the_fingerprint_stay(dataset):
    before: set[str] = set()
    for images in (1, 2, 4, 8, 12):
        few = take_few(dataset, images, seed=3)
        assert len(_drawn(dataset, images)) == images and before <= _drawn(dataset, images)
        assert few.select("test") == dataset.select("test") and few.fingerprint == dataset.fingerprint
        assert len(few.select("unused")) == 12 - images and len(few.samples) == len(dataset.samples)
        before = _drawn(dataset, images)


def test_which_images_are_drawn_depends_on_seed_and_content_and_not_on_names(dataset, tmp_path):
    assert len({frozenset(_drawn(dataset, 4, seed)) for seed in range(6)}) > 1
    renamed = shutil.copytree(dataset.root, tmp_path / "renamed")
    for path in sorted(renamed.glob("train/good/*.png")):
        path.rename(path.with_name(f"x{99 - int(path.stem):03d}.png"))
    assert _drawn(read_dataset(renamed), 4) == _drawn(dataset, 4)


def test_photographs_of_one_part_are_drawn_together_or_not_at_all(dataset):
    train = [sample.path for sample in dataset.select("train")]
    write_groups(dataset.root, {path: f"part {number // 3}" for number, path in enumerate(train)})
    grouped = read_dataset(dataset.root)
    before: set[str] = set()
    for images, expected in ((1, 3), (3, 3), (4, 3), (6, 6), (8, 6), (12, 12)):
        few = take_few(grouped, images, seed=0).select("train")
        groups = {grouped.groups[sample.path] for sample in few}
        assert len(few) == expected == 3 * len(groups) and before <= groups
        before = groups


def test_parts_that_were_photographed_once_give_the_number_and_the_others_come_when_they_are_used_up(dataset):
    train = [sample.path for sample in dataset.select("train")]
    sizes = [3, 1, 2, 1, 4, 1]
    names = [f"part {number}" for number, size in enumerate(sizes) for _ in range(size)]
    write_groups(dataset.root, dict(zip(train, names, strict=True)))
    grouped = read_dataset(dataset.root)
    for seed in range(5):
        before: set[str] = set()
        for images, expected in ((1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (8, 8), (12, 12)):
            few = take_few(grouped, images, seed).select("train")
            groups = {grouped.groups[sample.path] for sample in few}
            assert len(few) == expected and before <= groups, images
            before = groups


def test_more_than_there_are_is_refused_with_what_is_valid(dataset):
    with pytest.raises(InputError, match=r"train_images=13: .*parts has 12 training images; valid: 1 to 12, or None"):
        take_few(dataset, 13, seed=0)


def test_labelled_defects_are_the_same_whatever_is_drawn_to_train_on(dataset):
    labelled = take_labelled(dataset, 2, None, seed=1)
    assert labelled_sha256(take_few(dataset, 4, seed=1)) is None, "training images that are left out are no labels"
    assert labelled_sha256(take_few(labelled, 4, seed=1)) == labelled_sha256(labelled)
    conditions = read_conditions(dataset, seed=1, labelled=2, train_images=4)
    assert len(conditions.dataset.select("train")) == 4 and conditions.dataset.labelled == labelled.labelled


def test_each_number_is_a_run_of_its_own_and_all_of_them_is_the_run_from_before(dataset):
    def run_id(**options):
        return prepare(read_conditions(dataset, image_size=64, **options), "Subspace", {}).run_id

    assert run_id(train_images=None) == run_id()
    assert len({run_id(), run_id(train_images=4), run_id(train_images=8)}) == 3
    assert ExperimentProtocol(train_images=4).identifying["train_images"] == 4
    assert "train_images" not in ExperimentProtocol().identifying


def test_padim_says_that_one_image_is_too_few(dataset):
    with pytest.raises(InputError, match="Padim needs at least 2 training images"):
        prepare(read_conditions(dataset, image_size=64, train_images=1), "Padim", {"backbone": "efficientnet_lite0"})


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["Subspace", "Patchcore"])
def test_a_single_image_gives_results_without_thresholds_and_two_give_both(dataset, detector, tmp_path):
    configuration = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}
    one = Experiment(dataset, image_size=64, train_images=1, results=tmp_path).run(detector, **configuration)
    assert one.status == "ok" and one.record.dataset.counts["train/good"] == 1
    assert one.metrics["image_AUROC"] > 0.5 and "image_F1Score" not in one.metrics
    assert not one.record.operating_points
    assert "no thresholds: there is no good image but the only one that was trained on" in one._repr_html_()
    two = Experiment(dataset, image_size=64, train_images=2, results=tmp_path).run(detector, **configuration)
    assert "2 good images allow no promise below 33 %" in two._repr_html_()
    assert two.record.calibration.images == 2

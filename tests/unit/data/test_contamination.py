"""Training sets of which a part shows defects: which images they are, and that none of them is tested on."""

import dataclasses

import pytest
from helpers.data import make_mvtec

from training_code.data.contamination import take_contaminated
from training_code.data.dataset import read_dataset
from training_code.data.groups import write_groups
from training_code.data.sample import NORMAL
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.pipeline import prepare_data
from training_code.preparation import read_conditions


@pytest.fixture
def dataset(tmp_path):
    return read_dataset(make_mvtec(tmp_path / "parts", train=20, good=4, defective=6))


def _contents(dataset, paths):
    return {dataset.facts[path].sha256 for path in paths}


def test_so_many_training_images_are_replaced_and_none_of_them_is_tested_on(dataset):
    defective = {sample.path for sample in dataset.samples if sample.abnormal}
    for part, count in ((0.05, 1), (0.1, 2), (0.3, 6)):
        found = take_contaminated(dataset, part, seed=1)
        trained = found.select("train")
        assert len(trained) == 20 and len(found.contaminating) == count
        assert {sample.path for sample in trained} & defective == found.contaminating
        assert all(sample.defect_type == NORMAL and sample.mask is None for sample in trained)
        assert {sample.path for sample in found.select("test")} & defective == defective - found.contaminating
        assert found.fingerprint == dataset.fingerprint


def test_smaller_parts_are_among_larger_ones_and_a_seed_draws_others(dataset):
    few, many = (take_contaminated(dataset, part, seed=1) for part in (0.1, 0.3))
    assert few.contaminating < many.contaminating
    good = [{sample.path for sample in each.select("train")} - each.contaminating for each in (few, many)]
    assert good[1] < good[0]
    others = {frozenset(take_contaminated(dataset, 0.1, seed).contaminating) for seed in range(8)}
    assert len(others) > 3


def test_photographs_of_one_part_stay_together(dataset):
    test = dataset.select("test")
    bars = [sample.path for sample in test if sample.defect_type == "bar"]
    good = [sample.path for sample in test if not sample.abnormal]
    write_groups(dataset.root, {path: f"part {place // 3}" for place, path in enumerate(bars)} | {good[0]: "part 0"})
    grouped = read_dataset(dataset.root)
    for seed in range(8):
        found = take_contaminated(grouped, 0.2, seed)
        trained = {found.groups[sample.path] for sample in found.select("train")}
        assert trained.isdisjoint(found.groups[sample.path] for sample in found.select("test"))


def test_some_of_each_type_are_left_to_test_on_or_an_error_says_so(dataset):
    found = take_contaminated(dataset, 0.5, seed=1)
    assert {sample.defect_type for sample in found.select("test")} == {"bar", "good", "square"}
    few = dataclasses.replace(dataset, samples=[each for each in dataset.samples if "004" not in each.path.name])
    few = dataclasses.replace(few, samples=[each for each in few.samples if "005" not in each.path.name])
    with pytest.raises(InputError, match="asks for 9 defective test images to train on, and 6 of"):
        take_contaminated(few, 0.5, seed=1)
    with pytest.raises(InputError, match="contamination=0.01 of 20 training images is none; valid: 0, or at least"):
        take_contaminated(dataset, 0.01, seed=1)


def test_a_run_trains_on_them_as_good_images_and_its_record_says_so(dataset, tmp_path):
    conditions = read_conditions(dataset.root, image_size=32, contamination=0.1, seed=3)
    data = prepare_data(conditions, holds_out=False)
    assert len(data.train_data) == 20 and not any(data.train_data.abnormal)
    trained = _contents(conditions.dataset, conditions.dataset.contaminating)
    assert len(trained) == 2 and trained <= _contents(
        conditions.dataset, map(type(dataset.root), data.train_data.paths)
    )
    assert [note.message for note in conditions.dataset.notes if note.kind == "contaminated"] == [
        "2 of 20 training images show defects, as contamination asks of the protocol"
    ]
    arguments = {"backbone": "efficientnet_lite0"}
    clean, dirty, dirtier = (
        Experiment(dataset.root, image_size=32, seed=3, results=tmp_path, contamination=part).prepare(
            "Padim", arguments
        )
        for part in (0, 0.1, 0.3)
    )
    assert len({clean.run_id, dirty.run_id, dirtier.run_id}) == 3
    assert "contamination" not in clean.identity.protocol.identifying, "runs from before keep their names"

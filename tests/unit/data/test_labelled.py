"""Labelled defects: which images they are, and that what chooses or trains is never tested on."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from helpers.data import make_mvtec

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import examine, read_dataset
from training_code.data.groups import write_groups
from training_code.data.labelled import labelled_sha256, take_labelled
from training_code.foundation.errors import InputError
from training_code.preparation import read_conditions


@pytest.fixture
def dataset(tmp_path):
    return read_dataset(make_mvtec(tmp_path / "parts", train=8, good=4, defective=10))


def _types(samples):
    return Counter(sample.defect_type for sample in samples)


def test_a_part_or_a_number_of_each_defect_type_is_taken_and_leaves_the_test_set(dataset):
    types = sorted(_types(dataset.select("test")).keys() - {"good"})
    for labelled, each in ((0.3, 3), (4, 4), (0.01, 1), (99, 9)):
        divided = take_labelled(dataset, labelled, None, seed=1)
        assert _types(divided.labelled) == dict.fromkeys(types, each)
        tested = {sample.path for sample in divided.select("test")}
        assert not tested & {sample.path for sample in divided.labelled}
        assert len(tested) + len(divided.labelled) == len(dataset.select("test"))
        assert divided.fingerprint == dataset.fingerprint, "runs are on the same dataset whatever is taken"


def test_fewer_labels_are_among_more_and_leave_the_test_images_as_they_are(dataset):
    whole = take_labelled(dataset, 0.6, None, seed=3)
    before: set[Path] = set()
    for labels in (1, 2, 4, 6):
        some = take_labelled(dataset, 0.6, labels, seed=3)
        chosen = {sample.path for sample in some.labelled}
        assert set(_types(some.labelled).values()) == {labels} and before <= chosen
        assert some.select("test") == whole.select("test")
        assert len(some.select("unused")) == len(whole.labelled) - len(chosen)
        before = chosen


def test_what_is_taken_depends_on_seed_and_content_and_not_on_names(dataset, tmp_path):
    taken = {dataset.facts[sample.path].sha256 for sample in take_labelled(dataset, 3, None, 1).labelled}
    renamed = shutil.copytree(dataset.root, tmp_path / "renamed")
    for path in sorted(renamed.rglob("test/*/*.png")) + sorted(renamed.rglob("ground_truth/*/*.png")):
        number = 99 - int(path.stem.removesuffix("_mask"))
        path.rename(path.with_name(f"x{number:03d}{'_mask' if path.stem.endswith('_mask') else ''}.png"))
    other = read_dataset(renamed)
    again = take_labelled(other, 3, None, 1)
    assert {other.facts[sample.path].sha256 for sample in again.labelled} == taken
    assert labelled_sha256(again) == labelled_sha256(take_labelled(dataset, 3, None, 1))
    assert labelled_sha256(take_labelled(dataset, 3, None, 2)) != labelled_sha256(again)


def test_images_of_one_part_are_taken_together_good_ones_too(dataset, tmp_path):
    test = dataset.select("test")
    by_type = {kind: [each.path for each in test if each.defect_type == kind] for kind in _types(test)}
    kind = next(name for name in by_type if name != "good")
    parts = {path: f"part {number // 3}" for number, path in enumerate(by_type[kind])}
    parts |= dict.fromkeys(by_type["good"][:2], "part 0")
    write_groups(dataset.root, parts)
    grouped = read_dataset(dataset.root)
    for seed in range(6):
        divided = take_labelled(grouped, 3, None, seed)
        sides = {grouped.groups[sample.path]: sample.split for sample in divided.samples}
        assert all(sides[grouped.groups[each.path]] == each.split for each in divided.samples), "a part on two sides"
        beside = [each.path for each in divided.unseen_good]
        assert beside == (by_type["good"][:2] if sides["part 0"] == "labelled" else [])


def test_a_folder_for_validation_is_read_and_never_tested_on(tmp_path):
    root = make_mvtec(tmp_path / "parts", train=8, good=4, defective=4)
    kind = next(path.name for path in (root / "test").iterdir() if path.name != "good")
    for source, target in (("test", "validation"), ("ground_truth", "validation/ground_truth")):
        (root / target / kind).mkdir(parents=True)
        for path in sorted((root / source / kind).glob("*.png"))[:2]:
            path.rename(root / target / kind / path.name)
    dataset = read_dataset(root)
    assert dataset.counts[f"validation/{kind}"] == 2 and dataset.counts[f"test/{kind}"] == 2
    assert all(sample.mask and "validation" in sample.mask.parts for sample in dataset.labelled)
    module = SampleDataModule(dataset, (32, 32), 0.25, seed=0)
    assert len(module.labelled_data) == 2 and module.labelled_data[0].gt_mask.any()
    module.suit(holds_out=False, learns_from_labels=True)
    assert (
        len(module.train_data) == 10 and module.train_data[9].gt_mask.any() and not module.train_data[0].gt_mask.any()
    )


def test_a_detector_that_holds_images_out_holds_labelled_ones_of_each_type_out(dataset):
    module = SampleDataModule(take_labelled(dataset, 6, None, 0), (32, 32), 0.5, seed=0)
    module.suit(holds_out=True, learns_from_labels=True)
    types = sorted(_types(dataset.select("test")).keys() - {"good"})
    assert Counter(module.labelled_data.defect_types) == dict.fromkeys(types, 3)
    trained = {*module.train_data.paths}
    assert not trained & {*module.labelled_data.paths} and not trained & {*module.test_data.paths}


def test_a_part_in_validation_and_test_is_refused(tmp_path):
    root = make_mvtec(tmp_path / "parts", train=8, good=4, defective=4)
    kind = next(path.name for path in (root / "test").iterdir() if path.name != "good")
    (root / "validation" / kind).mkdir(parents=True)
    copied = shutil.copy(root / "test" / kind / "000.png", root / "validation" / kind / "again.png")
    mask = next((root / "ground_truth" / kind).glob("000*"))
    (root / "validation" / "ground_truth" / kind).mkdir(parents=True)
    shutil.copy(mask, root / "validation" / "ground_truth" / kind / "again.png")
    (finding,) = [each for each in examine(root).refused]
    assert finding.kind == "sibling" and finding.path == Path(copied)
    with pytest.raises(InputError, match="is for validation, and shows a part that is tested on as well"):
        read_dataset(root)


def test_labels_are_refused_where_there_is_no_defect_to_take(tmp_path):
    root = make_mvtec(tmp_path / "good", train=8, good=4, defective=0)
    with pytest.raises(InputError, match="labelled=0.3: .* has no test image with a defect; valid: 0"):
        read_conditions(root, labelled=0.3)


@pytest.mark.parametrize("value", [-1, 1.5, True, "some", 1.0])
def test_labelled_is_a_part_or_a_number(dataset, value):
    with pytest.raises(InputError, match="valid: 0, a part above 0 and below 1, or a whole number"):
        read_conditions(dataset, labelled=value)

"""What would make training fail is refused before any computation."""

import pytest
from helpers.data import make_mvtec

from training_code.data.groups import write_groups
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions
from training_code.protocol import ComputeOptions

ARGUMENTS = {"crop_size": 32, "max_epochs": 1}


@pytest.mark.parametrize("images", [1, 5])
def test_early_stopping_is_refused_where_images_of_a_single_part_leave_none_to_hold_out(tmp_path, images):
    folder = make_mvtec(tmp_path / "parts", train=images, good=1, defective=1)
    write_groups(folder, {path: "one part" for path in sorted((folder / "train" / "good").iterdir())})
    conditions = read_conditions(folder, image_size=64)
    with pytest.raises(InputError, match=rf"of {images} that show a single part none can be held out; valid: None"):
        prepare(conditions, "Autoencoder", ARGUMENTS | {"patience": 3})
    assert prepare(conditions, "Autoencoder", ARGUMENTS | {"patience": None}).batch_size


def _patchcore(dataset, memory_limit=None, **arguments):
    conditions = read_conditions(dataset, image_size=256, compute={"memory_limit": memory_limit})
    return prepare(conditions, "Patchcore", {"backbone": "efficientnet_lite0", **arguments})


@pytest.mark.slow
def test_a_coreset_is_exact_where_the_patches_fit_and_composed_where_they_do_not(tiny_dataset):
    """12 images have 1,024 patches of 152 numbers each: 7.1 MiB, and as much again may be taken for all the rest."""
    alone, small = _patchcore(tiny_dataset), _patchcore(tiny_dataset, memory_limit=0.01)
    assert (alone.identity.arguments["coreset"], small.identity.arguments["coreset"]) == ("exact", "composed")
    assert alone.leaves_out and not small.leaves_out, "not all of its patches are there to leave some out"
    assert alone.run_id == _patchcore(tiny_dataset, coreset="exact").run_id != small.run_id
    assert small.run_id == _patchcore(tiny_dataset, coreset="composed").run_id
    assert (alone.need.features, alone.need.way) == (12 * 1024 * 152 * 4, "exact coreset")


def test_a_selection_that_would_take_hours_is_composed(tiny_dataset, monkeypatch):
    operations = _patchcore(tiny_dataset).need.operations
    assert operations == 12 * 1024 * int(12 * 1024 * 0.1) * 152
    monkeypatch.setattr("training_code.detectors.patchcore.spec.EXACT", operations - 1)
    assert _patchcore(tiny_dataset).identity.arguments["coreset"] == "composed"


def test_what_cannot_fit_is_refused_with_what_would(tiny_dataset):
    sentence = (
        r"Patchcore needs 8 MiB at once for 7 MiB of features at 256 × 256 pixels, more than the 5 MiB that it may"
    )
    with pytest.raises(InputError, match=f"{sentence} take; valid: coreset='composed', or a larger memory_limit"):
        _patchcore(tiny_dataset, memory_limit=0.005, coreset="exact")
    with pytest.raises(InputError, match="valid: a smaller image_size, or fewer images, or a larger memory_limit"):
        _patchcore(tiny_dataset, memory_limit=0.002)


def test_a_file_that_does_not_fit_onto_the_disk_is_refused(tiny_dataset, monkeypatch):
    conditions = read_conditions(tiny_dataset, image_size=256, compute={"memory_limit": 0.1})
    arguments = {"backbone": "efficientnet_lite0", "n_features": 160}
    prepared = prepare(conditions, "Padim", arguments)
    assert prepared.need.disk == 12 * 160 * 64 * 64 * 2, "16 bits for each number"
    monkeypatch.setattr("training_code.suitability.free_space", lambda folder: 2**20)
    with pytest.raises(
        InputError, match="Padim puts 15 MiB of features into a file in .*, where 1 MiB are free; valid: "
    ):
        prepare(conditions, "Padim", arguments)


def test_a_coreset_has_a_size_that_there_is(tiny_dataset):
    assert _patchcore(tiny_dataset, coreset_size=12288).identity.arguments["coreset_size"] == 12288
    with pytest.raises(InputError, match="coreset_size=12289 is out of range: 12 images have 12288 patches"):
        _patchcore(tiny_dataset, coreset_size=12289)
    with pytest.raises(InputError, match="coreset_sampling_ratio=1e-05 selects nothing of 12288 patches of 12 images"):
        _patchcore(tiny_dataset, coreset_sampling_ratio=1e-5)


def test_batches_are_as_large_as_the_memory_allows(tiny_dataset):
    compute = ComputeOptions(memory_limit=0.05)
    each = 4 * 4 * 1024 * 152
    assert _patchcore(tiny_dataset).within(compute).eval_batch_size == int(0.05 * 2**30 / 8 / each) == 2
    assert _patchcore(tiny_dataset).within(ComputeOptions()) == ComputeOptions()


def test_patches_are_reduced_only_where_all_of_them_are_there(tiny_dataset):
    assert _patchcore(tiny_dataset, memory_limit=0.01, reduce=64).identity.arguments["coreset"] == "exact"
    with pytest.raises(InputError, match="reduce needs all patches at once, and coreset='composed' does not have them"):
        _patchcore(tiny_dataset, reduce=64, coreset="composed")
    with pytest.raises(
        InputError, match="valid: coreset='composed', which needs reduce=None, or a larger memory_limit"
    ):
        _patchcore(tiny_dataset, memory_limit=0.005, reduce=64)

"""Runs that are to be combined are checked before anything is computed, and what is wrong is said."""

import dataclasses

import pytest
from helpers.records import make_identity, make_record

from training_code.foundation.errors import InputError, MissingRunError
from training_code.foundation.files import sha256
from training_code.members import find_members
from training_code.protocol import ExperimentProtocol
from training_code.records.reading import write_record
from training_code.records.record import CHECKPOINT, Calibrated, CheckpointFile
from training_code.records.store import RunStore

DATA, PROTOCOL = "f" * 64, ExperimentProtocol(image_size=(64, 64))


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def _store_run(store, run_id, content=b"weights", **changes):
    identity = make_identity(**changes.pop("identity", {}))
    folder = store.folder(run_id)
    folder.mkdir(parents=True)
    (folder / CHECKPOINT).write_bytes(content)
    given = {
        "checkpoint": CheckpointFile(sha256(folder / CHECKPOINT), len(content)),
        "calibration": Calibrated("leave one out", 12, 12, 0.05),
    }
    record = make_record(run_id, identity, **given | changes)
    write_record(folder, record)
    return record


def _find(store, *names):
    return find_members(names, store, DATA, PROTOCOL, 0)


def test_runs_of_the_same_images_seed_and_conditions_are_found_in_the_order_in_which_they_are_named(store):
    first, second = _store_run(store, "a"), _store_run(store, "b")
    assert [member.record for member in _find(store, "b", "a")] == [second, first]
    assert _find(store, "a", "b")[0].folder == store.folder("a")


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"]])
def test_one_run_alone_is_no_combination(store, names):
    _store_run(store, "a")
    with pytest.raises(InputError, match="must name at least two different runs"):
        _find(store, *names)


@pytest.mark.parametrize("name", ["aa", "../runs/a", "nothing like it"])
def test_a_run_that_is_not_there_is_named_beside_those_that_are(store, name):
    _store_run(store, "a")
    with pytest.raises(MissingRunError, match=r"there is no run .* to combine.*run it first, valid: a"):
        _find(store, "a", name)


def test_a_run_that_failed_is_to_be_run_again(store):
    _store_run(store, "a")
    _store_run(store, "b", status="timeout")
    with pytest.raises(MissingRunError, match=r"b cannot be combined: it did not end well \(timeout\)"):
        _find(store, "a", "b")


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"seed": 1}, "seed 1, not 0"),
        ({"dataset_fingerprint": "e" * 64}, "data eeeeeeeeeeee, not ffffffffffff"),
        ({"image_size": (96, 64)}, r"image_size \(96, 64\), not \(64, 64\)"),
        ({"validation_split": 0.3}, "validation_split 0.3, not"),
    ],
)
def test_a_run_under_other_conditions_is_refused_with_both_values(store, identity, words):
    _store_run(store, "a")
    _store_run(store, "b", identity=identity)
    with pytest.raises(InputError, match=f"b cannot be combined here, its conditions are others: {words}"):
        _find(store, "a", "b")


def test_thresholds_by_another_rule_are_no_other_condition(store):
    _store_run(store, "a")
    _store_run(store, "b", identity={"threshold": "quantile", "alpha": 0.2, "area": 0.1})
    assert len(_find(store, "a", "b")) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": None}, "there are no good images that it has not seen"),
        ({"checkpoint": CheckpointFile("0" * 64, 7)}, "is not the file that its run wrote"),
        ({"checkpoint": None}, "is not the file that its run wrote"),
        ({"members": (make_record("c"), make_record("d"))}, "is a combination itself: name the runs .* c, d"),
    ],
)
def test_a_run_without_what_a_combination_needs_is_refused_with_the_reason(store, changes, words):
    _store_run(store, "a")
    _store_run(store, "b", **changes)
    with pytest.raises(InputError, match=words):
        _find(store, "a", "b")


def test_a_checkpoint_that_was_removed_is_missed_before_anything_is_computed(store):
    _store_run(store, "a")
    _store_run(store, "b")
    (store.folder("b") / CHECKPOINT).unlink()
    with pytest.raises(InputError, match=r"model.ckpt is missing; run it again with rerun=True"):
        _find(store, "a", "b")


def test_the_record_of_a_combination_holds_those_of_its_members(store):
    members = tuple(_store_run(store, name) for name in "ab")
    combined = _store_run(store, "ab", members=members)
    assert store.record("ab") == combined and store.record("ab").members == members
    random = dataclasses.replace(members[0].weights, pretrained=False)
    assert not combined.untrained_backbone
    members = (dataclasses.replace(members[0], weights=random), members[1])
    assert dataclasses.replace(combined, weights=None, members=members).untrained_backbone

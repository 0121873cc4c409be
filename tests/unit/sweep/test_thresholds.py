"""A sweep that asks for other thresholds than a stored run has gives it these, and trains nothing."""

import errno
from unittest.mock import Mock

import pytest
import yaml
from helpers.calibrated import store_as

from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.foundation.errors import InputError
from training_code.records import leases
from training_code.records.leases import LostLeaseError
from training_code.records.reading import read_record
from training_code.records.store import RunStore
from training_code.sweep.file import read_sweep
from training_code.sweep.plan import Planner, make_plan
from training_code.sweep.thresholds import change_thresholds

NOTEBOOK = "10_train_padim"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(leases, "_POLL", 0.05)
    find_weights(get_backbone("efficientnet_lite0"))


@pytest.fixture
def plan(tmp_path, tiny_dataset):
    """Plan one configuration; its run is stored with ``conformal`` thresholds in force once there was a plan."""

    def make(**protocol):
        entry = {"notebook": NOTEBOOK, "select": {"backbone": "efficientnet_lite0", "n_features": 100}}
        entry["parameters"] = {"dataset": str(tiny_dataset)} | protocol
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({"notebooks": [entry]}))
        return make_plan(read_sweep(path), Planner(), str(tmp_path / "results"))

    return make


def test_a_stored_run_gets_the_rule_that_the_sweep_asks_for(plan):
    (job,) = plan()
    folder = store_as(job.store, job.prepared.identity)
    (same,) = plan()
    assert same.rethreshold is None and not same.reason
    (other,) = plan(threshold="quantile", alpha=0.5)
    assert (other.state, other.run_id) == ("stored", job.run_id)
    assert other.reason == "gets quantile thresholds (alpha 0.5) in place of conformal ones, without training"
    assert read_record(folder).rule == "conformal", "a plan changes nothing"
    (done,) = change_thresholds([other])
    assert "image 19, pixel 35.5 (conformal) → image 10, pixel 19 (quantile)" in done.reason
    after = read_record(folder)
    assert (after.rule, after.thresholds["image"], after.run_id) == ("quantile", 10, job.run_id)


def test_a_smaller_alpha_is_another_threshold_too(plan):
    folder = store_as(plan()[0].store, plan()[0].prepared.identity)
    (job,) = plan(alpha=0.5)
    assert job.reason == "gets conformal thresholds of alpha 0.5 in place of 0.05, without training"
    change_thresholds([job])
    assert read_record(folder).operating_points["image"].promise == 0.5


def test_a_run_that_cannot_have_them_keeps_its_own_and_says_why(plan):
    folder = store_as(plan()[0].store, plan()[0].prepared.identity)
    (job,) = plan(area=0.1)
    assert job.state == "stored" and job.rethreshold is None
    assert "keeps its own: area=0.1 needs the maps of good images" in job.reason
    assert "conformal thresholds: at most 5 % of new good images are refused" in job.reason
    assert change_thresholds([job]) == [job] and read_record(folder).rule == "conformal"


def test_a_run_that_another_process_works_on_is_left_alone(plan):
    folder = store_as(plan()[0].store, plan()[0].prepared.identity)
    (job,) = plan(threshold="mean_sd")
    with RunStore(job.store.results).locked(job.run_id):
        (left,) = change_thresholds([job])
    assert "works on it" in left.reason and read_record(folder).rule == "conformal"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), LostLeaseError("taken over")])
def test_a_run_whose_files_cannot_be_replaced_keeps_its_thresholds_and_costs_no_other_job(plan, monkeypatch, error):
    folder = store_as(plan()[0].store, plan()[0].prepared.identity)
    (job,) = plan(threshold="mean_sd")
    monkeypatch.setattr(RunStore, "put_thresholds", Mock(side_effect=error))
    (left,) = change_thresholds([job])
    assert str(error) in left.reason and "keep" in left.reason and read_record(folder).rule == "conformal"


def test_one_run_is_not_asked_for_two_rules(tmp_path, tiny_dataset):
    entry = {"notebook": NOTEBOOK, "select": {"backbone": "efficientnet_lite0", "n_features": 100}}
    path = tmp_path / "sweep.yaml"
    given = [
        entry | {"parameters": {"dataset": str(tiny_dataset), "threshold": rule}} for rule in ("quantile", "mean_sd")
    ]
    path.write_text(yaml.safe_dump({"notebooks": given}))
    with pytest.raises(InputError, match="asks twice for padim-.*threshold, alpha, area"):
        make_plan(read_sweep(path), Planner(), str(tmp_path / "results"))

import numpy as np
import pandas as pd
import pytest
from helpers.records import make_identity, make_record
from helpers.results import DETECTORS, make_run

from training_code.comparison.configurations import OTHER_CODE, best_models, configurations
from training_code.comparison.level import mark_level
from training_code.comparison.table import MAIN_METRICS, runs_table
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records


def _table(results):
    return runs_table(read_records(results)[0])


def test_a_configuration_is_the_mean_over_its_seeds(tmp_path):
    values = [0.7, 0.8, 0.9]
    for seed, value in enumerate(values):
        make_run(tmp_path, f"r{seed}", seed=seed, metrics={"image_AUROC": value})
    (row,) = configurations(_table(tmp_path)).to_dict("records")
    assert row["image_AUROC"] == pytest.approx(0.8) and row["image_AUROC_sd"] == pytest.approx(0.1)
    assert row["seeds"] == 3 and row["run_id"] == "r1", "the run nearest to the mean stands for it"
    assert row["latency_s"] == pytest.approx(0.02) and row["checkpoint_bytes"] == 10**6


def _state(results, run_id, code, day, value, **changes):
    """Write a run of a state of the code that finished on a day."""
    finished = f"2026-01-{day:02d}T00:00:00+00:00"
    make_run(
        results, run_id, code_sha256=code and code * 64, finished=finished, metrics={"image_AUROC": value}, **changes
    )


def test_runs_of_different_states_of_the_code_are_never_averaged_and_the_older_ones_are_marked(tmp_path):
    _state(tmp_path, "old-0", "a", 1, 0.9)
    _state(tmp_path, "old-1", "a", 2, 0.7, seed=1)
    _state(tmp_path, "new-0", "b", 3, 0.6)
    found = configurations(_table(tmp_path))
    assert found["image_AUROC"].tolist() == pytest.approx([0.8, 0.6]), "not 0.733, the mean of all three"
    assert found["seeds"].tolist() == [2, 1] and found["code"].fillna("").tolist() == [OTHER_CODE, ""]
    assert found["configuration"].tolist() == ["100 features, other code aaaaaaaa", "100 features"]
    assert best_models(_table(tmp_path))["run_id"].tolist() == ["new-0"], "the older runs were made again"


def test_the_newest_state_is_that_of_the_run_that_finished_last_in_whatever_time_zone(tmp_path):
    _state(tmp_path, "a", "a", 3, 0.9)
    _state(tmp_path, "b", "b", 2, 0.6)
    make_run(tmp_path, "c", seed=1, code_sha256="b" * 64, finished="2026-01-02T23:30:00-02:00")
    found = configurations(_table(tmp_path)).set_index("code_sha256")
    assert found["code"].fillna("").to_dict() == {"a" * 12: OTHER_CODE, "b" * 12: ""}


def test_what_was_never_run_again_stays_among_the_best_with_a_mark(tmp_path):
    _state(tmp_path, "old", "a", 1, 0.9)
    _state(tmp_path, "new", "b", 2, 0.6, arguments=DETECTORS["Padim"] | {"n_features": 200})
    _state(tmp_path, "other", "c", 1, 0.5, detector="Patchcore")
    best = best_models(_table(tmp_path)).set_index("Model")
    assert best["run_id"].to_dict() == {"Padim": "old", "Patchcore": "other"}
    assert best["code"].fillna("").to_dict() == {"Padim": OTHER_CODE, "Patchcore": ""}, (
        "each detector has code of its own"
    )


@pytest.mark.parametrize("code", ["a", None])
def test_records_that_share_a_hash_or_have_none_are_one_state(tmp_path, code):
    for seed, detector in ((0, "Padim"), (1, "Padim"), (0, "Cflow")):
        _state(tmp_path, f"{detector}-{seed}", code, 1 + seed, 0.8, seed=seed, detector=detector)
    found = configurations(_table(tmp_path))
    assert len(found) == 2 and found["code"].isna().all()
    assert not found["configuration"].str.contains("code").any()


def test_one_seed_has_no_deviation(tmp_path):
    make_run(tmp_path, "a")
    assert np.isnan(configurations(_table(tmp_path))["image_AUROC_sd"][0])


def test_the_best_of_each_detector_is_chosen_from_good_runs_on_pretrained_weights(tmp_path):
    random = {"file": "", "sha256": "r", "source": "random", "pretrained": False}
    more = DETECTORS["Padim"] | {"n_features": 200}
    most = DETECTORS["Padim"] | {"n_features": 300}
    make_run(tmp_path, "good", metrics={"image_AUROC": 0.8, "pixel_AUROC": 0.6})
    make_run(tmp_path, "worse", arguments=more, metrics={"image_AUROC": 0.7, "pixel_AUROC": 0.9})
    make_run(tmp_path, "random", arguments=most, metrics={"image_AUROC": 0.99}, weights=random)
    make_run(tmp_path, "failed", status="failed", metrics={}, error="x")
    make_run(tmp_path, "other", "Patchcore", metrics={"image_AUROC": 0.6, "pixel_AUROC": 0.5})
    best = best_models(_table(tmp_path))
    assert best[["Model", "run_id"]].values.tolist() == [["Padim", "good"], ["Patchcore", "other"]]
    assert list(best.columns[:5]) == ["Model", *MAIN_METRICS]
    assert best["configuration"].tolist() == ["100 features", "2 layers, 0.1 sampling, 5 neighbors"]
    assert best["backbone"].tolist() == ["ResNet18", "ResNet50"]
    assert best_models(_table(tmp_path), "pixel_AUROC")["run_id"].tolist() == ["worse", "other"]


def test_of_level_configurations_the_faster_one_is_the_best(tmp_path):
    for name, seconds, features in (("a", 0.5, 100), ("b", 0.1, 200)):
        times = {"fit": 1.0, "test": 1.0, "latency": seconds}
        arguments = DETECTORS["Padim"] | {"n_features": features}
        make_run(tmp_path, name, arguments=arguments, times=times, metrics={"image_AUROC": 0.8})
    assert best_models(_table(tmp_path))["run_id"].tolist() == ["b"]


@pytest.mark.parametrize(
    "identity", [{"image_size": (128, 128)}, {"validation_split": 0.0}, {"validation_split": 0.2}], ids=str
)
def test_runs_of_different_protocols_are_never_ranked_together(tmp_path, identity):
    make_run(tmp_path, "a", metrics={"image_AUROC": 0.8})
    make_run(tmp_path, "b", metrics={"image_AUROC": 0.9}, identity=identity)
    best = best_models(_table(tmp_path))
    assert set(best["run_id"]) == {"a", "b"} and best["protocol"].nunique() == 2
    marked, _ = mark_level(configurations(_table(tmp_path)))
    assert marked["level_with_best"].tolist() == [True, True], "each is the best of its own protocol"


def test_a_dataset_that_has_changed_is_not_ranked_with_what_it_was(tmp_path):
    make_run(tmp_path, "a", metrics={"image_AUROC": 0.8})
    table = _table(tmp_path)
    other = table.assign(dataset_fingerprint="another", run_id="b", image_AUROC=0.9)
    best = best_models(pd.concat([table, other], ignore_index=True))
    assert sorted(best["run_id"]) == ["a", "b"]
    assert best["protocol"].str.contains("data anothe").sum() == 1, "which data is told by its fingerprint"


def test_names_that_would_be_equal_get_what_tells_them_apart(tmp_path):
    for number, layers in enumerate((["layer1"], ["layer1", "layer2"])):
        make_run(tmp_path, f"r{number}", arguments=DETECTORS["Padim"] | {"layers": layers})
    names = configurations(_table(tmp_path))["configuration"].tolist()
    assert sorted(names) == ["100 features, layers=layer1", "100 features, layers=layer1, layer2"]


def test_an_unknown_criterion_is_refused_with_the_valid_ones(tmp_path):
    make_run(tmp_path, "a")
    with pytest.raises(InputError, match="unknown criterion 'AUROC'.*image_AUROC"):
        best_models(_table(tmp_path), "AUROC")


def test_without_runs_or_metrics_there_are_no_models(tmp_path):
    assert best_models(runs_table([])).empty
    make_run(tmp_path, "failed", status="failed", metrics={}, times={}, error="x")
    assert best_models(_table(tmp_path)).empty and mark_level(configurations(_table(tmp_path)))[0].empty


def test_a_combination_is_one_configuration_though_its_members_have_other_ids_for_every_seed(tmp_path):
    for seed, skill in ((0, 2.0), (1, 3.0)):
        members = tuple(
            make_record(f"{name}-{seed}", make_identity(detector=name, arguments=DETECTORS[name], seed=seed))
            for name in ("Patchcore", "Padim")
        )
        arguments = {"combine": [member.run_id for member in members], "how": "mean"}
        hashes = {member.run_id: f"{seed}" * 64 for member in members}
        changes = {"arguments": arguments, "members": members, "identity": {"files_sha256": hashes}}
        make_run(tmp_path, f"combined-{seed}", "Combined", seed, skill, **changes)
    (found,) = configurations(runs_table(read_records(tmp_path)[0])).to_dict("records")
    assert found["seeds"] == 2
    assert found["configuration"] == (
        "mean, Padim ResNet18 (100 features), Patchcore ResNet50 (2 layers, 0.1 sampling, 5 neighbors)"
    )

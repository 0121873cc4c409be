import numpy as np
import pytest
from helpers.results import DETECTORS, make_results, make_run

from training_code.comparison.configurations import configurations
from training_code.comparison.level import mark_level
from training_code.comparison.statistics import model_confidence_set
from training_code.comparison.table import runs_table
from training_code.evaluation.intervals import placements
from training_code.records.reading import read_records
from training_code.records.scores import read_scores
from training_code.reporting.sheets import compare


def _table(results):
    return runs_table(read_records(results)[0])


def _mark(results, by="run_id"):
    marked, problems = mark_level(configurations(_table(results)))
    return marked.set_index(by), problems


def test_what_cannot_be_told_from_the_best_is_marked(tmp_path):
    make_run(tmp_path, "best", skill=4.0, images=60)
    make_run(tmp_path, "near", "Patchcore", skill=3.6, images=60)
    make_run(tmp_path, "far", "Cflow", skill=0.0, images=60)
    marked, problems = _mark(tmp_path)
    assert not problems
    assert marked["level_with_best"].to_dict() == {"best": True, "near": True, "far": False}
    assert np.isnan(marked.loc["best", "p_against_best"]) and marked.loc["far", "p_against_best"] < 0.01
    assert marked.loc["best", "optimism_of_choice"] >= 0 and marked["optimism_of_choice"].notna().sum() == 1


def test_all_seeds_of_a_configuration_decide_and_not_the_run_that_stands_for_it(tmp_path):
    for seed, skill in enumerate((3.0, 3.0, 3.0)):
        make_run(tmp_path, f"best-{seed}", seed=seed, skill=skill, images=60)
    for seed, skill in enumerate((3.0, 1.5, 0.0)):
        make_run(tmp_path, f"other-{seed}", "Patchcore", seed=seed, skill=skill, images=60)
    runs = [read_scores(tmp_path / "runs" / f"{name}-{seed}") for name in ("best", "other") for seed in range(3)]
    placed = [placements(run.labels, run.scores[None]) for run in runs]
    kinds = (
        np.stack([np.mean([one[kind][0] for one in placed[n : n + 3]], axis=0) for n in (0, 3)]) for kind in (0, 1)
    )
    marked, _ = _mark(tmp_path, "Model")
    assert marked.loc["Patchcore", "p_against_best"] == model_confidence_set(*kinds, np.random.default_rng(0))[1]


def test_the_best_of_a_detector_is_judged_among_all_configurations_from_which_it_was_chosen(tmp_path):
    for number in range(12):
        arguments = DETECTORS["Padim"] | {"n_features": 10 + number}
        make_run(tmp_path, f"padim-{number}", arguments=arguments, skill=1.0, images=40)
    make_run(tmp_path, "other", "Patchcore", skill=1.0, images=40)
    comparison = compare(_table(tmp_path))
    assert len(comparison.models) == 13 and len(comparison.best) == 2
    of_all = comparison.models.set_index("run_id").loc[comparison.best["run_id"]]
    for name in ("p_against_best", "level_with_best", "optimism_of_choice"):
        assert comparison.best[name].fillna(-1).tolist() == of_all[name].fillna(-1).tolist()
    assert comparison.best["optimism_of_choice"][0] > 0, "the luckiest of 13 equal ones"


def test_configurations_that_were_run_again_with_other_code_are_not_compared(tmp_path):
    for name, code, day in (("old", "a", 1), ("new", "b", 2)):
        finished = f"2026-01-{day:02d}T00:00:00+00:00"
        make_run(tmp_path, name, code_sha256=code * 64, finished=finished, skill=3.0)
    marked, _ = _mark(tmp_path)
    assert marked.loc["new", "level_with_best"] is True and marked.loc["old", "level_with_best"] is None


def test_without_scores_nothing_is_said_and_it_is_reported(tmp_path):
    make_results(tmp_path, seeds=(0, 1))
    (tmp_path / "runs" / "patchcore-d-0" / "scores.csv").unlink()
    (tmp_path / "runs" / "cflow-d-1" / "scores.csv").write_text("path,score\n")
    marked, problems = _mark(tmp_path, "Model")
    assert marked.loc["Padim", "level_with_best"] is True
    assert marked.loc["Patchcore", "level_with_best"] is None and marked.loc["Cflow", "level_with_best"] is None
    assert len(problems) == 2 and any("is damaged" in problem for problem in problems)


@pytest.mark.parametrize("types", [("good", "good", "good", "hole"), ("hole", "hole", "hole", "good")])
def test_with_a_single_image_of_a_kind_only_the_best_is_told(tmp_path, types):
    for detector in ("Padim", "Patchcore"):
        make_run(tmp_path, detector, detector, images=4, types=types)
    marked, problems = _mark(tmp_path)
    assert marked["level_with_best"].tolist() == [True, None] and not problems
    assert marked[["p_against_best", "optimism_of_choice"]].isna().all(axis=None)


def test_other_criteria_are_not_tested(tmp_path):
    make_results(tmp_path)
    models = configurations(_table(tmp_path), "pixel_AUROC")
    assert mark_level(models, "pixel_AUROC")[0]["level_with_best"].isna().all()

import dataclasses

import numpy as np
import pytest
from helpers.calibrated import make_calibrated
from helpers.results import make_results, make_run, make_unequal

from training_code.comparison import decision_candidates
from training_code.comparison.configurations import configurations
from training_code.comparison.decision import (
    CHEAPEST,
    DEPLOYED,
    NO_THRESHOLD,
    TOO_FEW,
    Assumptions,
    Candidate,
    all_rankings,
    best_point,
    costs_of,
    groups_of,
    protocols_of,
    ranking,
)
from training_code.comparison.decision_candidates import DIFFERENT, read_candidates
from training_code.comparison.flattery import WEIGHTS, flattery
from training_code.comparison.operating_curve import MOST_POINTS, curve_of, deployed_point
from training_code.comparison.table import runs_table
from training_code.evaluation.decisions import clopper_pearson
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.records.scores import Scores


def _scores(seed, images=40, ties=False, seeds=1):
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % 3 == 0
    scores = generator.normal(size=(seeds, images)) + labels
    return labels, np.round(scores, 1) if ties else scores


def _cheapest_of_all(labels, scores, line):
    """The lowest cost a day over every threshold there is, each counted."""
    called = scores >= np.array([-np.inf, *np.unique(scores), np.inf])[:, None]
    alarms, misses = called[:, ~labels].mean(axis=1), (~called[:, labels]).mean(axis=1)
    costs = (1 - line.defective_share) * alarms * line.false_alarm_cost
    costs += line.defective_share * misses * line.miss_cost
    return line.parts_a_day * costs[1 - misses >= line.least_found - 1e-9].min()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_cheaper_than_the_one_that_is_named(seed, ties):
    labels, scores = _scores(seed, ties=ties)
    curve = curve_of(labels, scores)
    generator = np.random.default_rng(seed)
    for least in (0.0, 0.5, 0.9, 1.0):
        for _ in range(5):
            share, alarm, miss = generator.uniform(0, 0.2), generator.uniform(0, 5), generator.uniform(0, 50)
            line = Assumptions(share, alarm, miss, 1000, least, CHEAPEST)
            point = best_point(curve, line)
            assert costs_of(curve, line)[point, 0] == pytest.approx(_cheapest_of_all(labels, scores[0], line))


def test_a_long_curve_is_thinned_and_still_names_the_cheapest_threshold_for_any_costs():
    labels, scores = _scores(3, images=1500)
    curve = curve_of(labels, scores)
    assert MOST_POINTS < len(curve) < 2 * MOST_POINTS
    for miss in np.geomspace(0.1, 10_000, 20):
        line = Assumptions(miss_cost=miss)
        cost = costs_of(curve, line)[best_point(curve, line), 0]
        assert cost == pytest.approx(_cheapest_of_all(labels, scores[0], line))
    for percent in range(50, 101, 5):  # where misses cost nothing, false alarms alone decide
        line = Assumptions(miss_cost=0, least_found=percent / 100)
        cost = costs_of(curve, line)[best_point(curve, line), 0]
        assert cost == pytest.approx(_cheapest_of_all(labels, scores[0], line))


@pytest.mark.parametrize("ties", [False, True])
def test_a_threshold_as_it_is_read_decides_as_its_point_says(ties):
    labels, scores = _scores(1, ties=ties)
    curve = curve_of(labels, scores)
    for text, (alarm, *_), (miss, *_) in zip(curve.thresholds, curve.false_alarms, curve.misses, strict=True):
        called = scores[0] >= float(text)
        assert called[~labels].mean() == pytest.approx(alarm) and (~called[labels]).mean() == pytest.approx(miss)


def test_scores_that_differ_in_a_late_digit_are_told_apart_by_the_threshold():
    curve = curve_of(np.array([False, True]), np.array([[0.12345678, 0.12345679]]))
    assert len(curve) == 1 and 0.12345678 < float(curve.thresholds[0]) <= 0.12345679
    assert curve.false_alarms[0, 0] == curve.misses[0, 0] == 0


def test_seeds_count_alike_whatever_the_scale_of_their_scores():
    labels, scores = _scores(2, seeds=2)
    one, two = (curve_of(labels, run[None]) for run in scores)
    both = curve_of(labels, np.stack([scores[0], 1000 * scores[1]]))
    for alarm in np.unique(both.false_alarms[:, 0]):
        found = [curve.misses[curve.false_alarms[:, 0] <= alarm + 1e-9, 0].min() for curve in (one, two)]
        assert both.misses[both.false_alarms[:, 0] == alarm, 0].min() == pytest.approx(np.mean(found))
    assert " to " in both.thresholds[0]


def test_more_seeds_do_not_make_the_interval_narrower():
    labels, scores = _scores(2)
    one, three = (deployed_point([labels] * seeds, np.repeat(scores, seeds, 0), [0.5] * seeds) for seeds in (1, 3))
    np.testing.assert_allclose(one.misses, three.misses)
    misses = int((scores[0][labels] < 0.5).sum())
    assert tuple(one.misses[0, 1:]) == pytest.approx(clopper_pearson(misses, int(labels.sum()), 0.95))


def test_the_deployed_point_of_several_seeds_is_the_mean_at_their_own_thresholds():
    labels = np.array([False, False, True, True])
    scores = np.array([[0.1, 0.4, 0.3, 0.9], [10, 40, 30, 90.0]])
    point = deployed_point([labels] * 2, scores, [0.2, 50.0])
    assert point.thresholds == ("0.2 to 50",)
    assert point.false_alarms[0, 0] == 0.25 and point.misses[0, 0] == 0.25
    for missing in (None, np.nan):
        assert deployed_point([labels] * 2, scores, [0.2, missing]) is None


def test_costs_are_those_of_a_line_and_their_interval_is_exact_where_one_error_costs_nothing():
    point = deployed_point([np.array([False] * 8 + [True] * 2)], [np.arange(10.0)], [7.0])
    line = Assumptions(0.1, 2, 30, 500)
    assert costs_of(point, line)[0, 0] == pytest.approx(500 * 0.9 * (1 / 8) * 2)
    free = dataclasses.replace(line, miss_cost=0)
    assert costs_of(point, free)[0] == pytest.approx([900 * rate for rate in (1 / 8, *clopper_pearson(1, 8, 0.95))])


def _candidate(run_id, seed, group="d", **changes):
    labels, scores = _scores(seed)
    deployed = deployed_point([labels], scores, [0.5])
    values = ("m", "", "c", run_id, 1, 26, 14, curve_of(labels, scores), deployed, (0.0,) * len(WEIGHTS))
    return dataclasses.replace(Candidate(group, *values), **changes)


def test_models_are_ranked_by_what_they_cost_and_those_that_cannot_be_chosen_come_last():
    options = [_candidate(str(seed), seed) for seed in range(4)] + [_candidate("none", 9, deployed=None)]
    found = sorted(1 - one.deployed.misses[0, 0] for one in options[:-1])
    least = found[1] + 0.001  # two find enough
    table = ranking(options, Assumptions(least_found=least))
    ranked = table[table["rank"].notna()]
    assert ranked["cost_a_day"].is_monotonic_increasing and list(ranked["rank"]) == [1, 2]
    assert (1 - ranked["image_MissRate"] >= least).all()
    assert table["note"].tolist() == ["", "", TOO_FEW, TOO_FEW, NO_THRESHOLD]
    free = ranking(options, Assumptions(least_found=least, threshold=CHEAPEST))
    assert free["rank"].notna().all(), "every model finds enough at some threshold"
    assert free["cost_a_day"].min() <= ranked["cost_a_day"].min()


def test_the_dataset_that_was_run_last_comes_first_however_few_models_it_has():
    options = [
        _candidate("a", 1, "textures", dataset="textures", last_run=1.0),
        _candidate("b", 2, "textures", dataset="textures", last_run=1.0),
        _candidate("c", 3, "boards", dataset="boards", last_run=2.0),
    ]
    assert groups_of(options) == ["boards", "textures"]
    assert ranking(options, Assumptions())["run_id"].tolist() == ["c"]
    assert all_rankings(options)["group"].unique().tolist() == ["boards", "textures"]


def test_protocols_are_told_by_their_dataset():
    options = [
        _candidate("a", 1, "boards: 64", dataset="boards", last_run=1.0),
        _candidate("b", 2, "textures: 64", dataset="textures", last_run=2.0),
        _candidate("c", 3, "boards: 128", dataset="boards", last_run=3.0),
    ]
    assert protocols_of(options) == {"boards": ["boards: 128", "boards: 64"], "textures": ["textures: 64"]}
    options.append(_candidate("d", 4, "boards: 64", dataset="boards", last_run=1.0))
    assert groups_of(options) == ["boards: 64", "boards: 128", "textures: 64"], "of a dataset that with most models"


def test_the_newest_run_of_those_that_are_compared_says_which_dataset_was_run_last(tmp_path):
    make_results(tmp_path, datasets=("textures",), seeds=(0,))
    make_run(tmp_path, "boards-0", dataset="boards", finished="2026-01-01T09:00:00+02:00")  # 7 o'clock
    make_run(
        tmp_path, "boards-bad", dataset="boards", status="failed", metrics={}, finished="2027-01-01T00:00:00+00:00"
    )
    assert _groups(tmp_path) == ["boards", "textures"]
    many = {"arguments": {"backbone": "resnet18", "layers": ["layer1"], "n_features": 7}}
    make_run(tmp_path, "textures-new", skill=0.1, dataset="textures", finished="2026-01-01T08:00:00+00:00", **many)
    assert _groups(tmp_path) == ["textures", "boards"]


def test_a_run_that_takes_no_part_in_the_decision_still_says_that_its_dataset_was_run_last(tmp_path):
    make_results(tmp_path, datasets=("textures", "zippers"), seeds=(0,))
    for number in range(7):  # more than take part, and the worst by the criterion is the newest one
        settings = {"backbone": "resnet18", "layers": ["layer1"], "n_features": 10 + number}
        moment = f"2026-01-01T0{number + 1}:00:00+00:00"
        skill = 4 - number / 2
        make_run(tmp_path, f"z-{number}", skill=skill, dataset="zippers", arguments=settings, finished=moment)
    make_run(tmp_path, "late", dataset="textures", arguments=settings, finished="2026-01-01T06:30:00+00:00")
    assert _groups(tmp_path) == ["zippers", "textures"]


def _groups(results):
    table = runs_table(read_records(results)[0])
    found, problems = read_candidates(configurations(table), table)
    assert problems == [] and groups_of(found) == list(dict.fromkeys(one.group for one in found))
    assert all(one.group.startswith(f"{one.dataset}: ") for one in found)
    return list(dict.fromkeys(one.dataset for one in found))


def test_of_groups_run_at_once_that_with_most_models_comes_first_and_an_unknown_one_is_named():
    options = [_candidate("a", 1, "boards"), _candidate("b", 2, "tiles"), _candidate("c", 3, "tiles")]
    assert groups_of(options) == ["tiles", "boards"]
    assert set(ranking(options, Assumptions())["run_id"]) == {"b", "c"}
    with pytest.raises(InputError, match="unknown dataset and protocol 'screws'.*boards"):
        ranking(options, Assumptions(), "screws")


def test_impossible_lines_are_refused():
    for wrong in ({"defective_share": 1.5}, {"least_found": -0.1}, {"miss_cost": -1}, {"parts_a_day": np.nan}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Assumptions(**wrong)
    with pytest.raises(InputError, match="as deployed"):
        Assumptions(threshold="mine")


def test_flattery_is_large_where_few_images_chose_and_small_where_many_did():
    few, many = (
        np.mean([flattery(*_scores(seed, images), np.random.default_rng(0))[5] for seed in range(8)])
        for images in (15, 600)
    )
    assert few > 0.06 > 0.03 > many > 0


def test_flattery_is_what_a_threshold_costs_more_on_new_images():
    """Thresholds chosen on 30 images, judged on 4,000 of the same kind: known from the simulation, not the estimate."""
    more, told = [], []
    for seed in range(60):
        labels, scores = _scores(seed, 30)
        new_labels, new = _scores(1000 + seed, 4000)
        curve, line = curve_of(labels, scores), Assumptions(0.5, 1, 1, 2)
        point = best_point(curve, line)
        called = new[0] >= float(curve.thresholds[point])
        costs = called[~new_labels].mean() + (~called[new_labels]).mean()
        more.append((costs - costs_of(curve, line)[point, 0]) / 2)
        told.append(flattery(labels, scores, np.random.default_rng(seed))[5])
    assert np.mean(told) == pytest.approx(np.mean(more), abs=0.03)


def test_candidates_have_the_curves_and_the_thresholds_of_all_their_runs(tmp_path):
    make_results(tmp_path / "results", datasets=("tiles", "boards"))
    runs, _ = read_records(tmp_path / "results")
    table = runs_table(runs)
    found, problems = read_candidates(configurations(table), table)
    assert not problems and len(found) == 6 and {one.seeds for one in found} == {3}
    padim = next(one for one in found if one.model == "Padim")
    records = [record for _, record in runs if record.run_id.startswith(f"padim-{padim.group.split(':')[0]}")]
    assert padim.deployed.thresholds == (f"{records[0].thresholds['image']:g}",)
    assert (padim.good, padim.defective) == (7, 13)


def test_seeds_that_test_on_other_numbers_of_images_take_part_with_as_many_as_the_least(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    runs = {}
    for name, good, bad in (("a", 40, 21), ("b", 28, 20)):
        labels = generator.permutation(np.repeat([False, True], [good, bad]))
        scores = labels + generator.random(good + bad)
        runs[name] = Scores(tuple(f"{name}{number}" for number in range(good + bad)), (), labels, scores, None)
    monkeypatch.setattr(decision_candidates, "read_scores", lambda folder: runs[folder.name])
    labels, scores = decision_candidates._on_as_many(decision_candidates._read(["a", "b"], by_seed=True))
    assert scores.shape == (2, 48) and labels.sum() == 20
    for row, run in zip(scores, runs.values(), strict=True):
        for label in (False, True):
            left, whole = row[labels == label], run.scores[run.labels == label]
            assert set(left) <= set(whole) and {whole.min(), whole.max()} <= set(left)
            assert abs(np.median(left) - np.median(whole)) < 0.05, "left out evenly"
    with pytest.raises(ValueError, match="scores of different images"):
        decision_candidates._read(["a", "b"], by_seed=False)


def test_of_seeds_with_other_numbers_of_images_each_is_judged_by_its_threshold_on_all_of_them(tmp_path):
    make_unequal(tmp_path, [(60, 1, 30, 3), (20, 0, 10, 0)])  # thinned to 20, one false alarm in 60 was one in 20
    table = runs_table(read_records(tmp_path)[0])
    for all_points in (True, False):
        ((one,), problems) = read_candidates(configurations(table), table, all_points)
        assert problems == [] and (one.seeds, one.good, one.defective) == (2, 20, 10)
        alarms, misses = one.deployed.false_alarms[0], one.deployed.misses[0]
        assert alarms[0] == pytest.approx((1 / 60 + 0 / 20) / 2) and misses[0] == pytest.approx((3 / 30 + 0 / 10) / 2)
        assert tuple(alarms[1:]) == pytest.approx(clopper_pearson(20 / 120, 20, 0.95)), "of the fewest images"
        assert tuple(misses[1:]) == pytest.approx(clopper_pearson(0.5, 10, 0.95))
        cost = ranking([one], Assumptions()).iloc[0]["cost_a_day"]
        assert cost == pytest.approx(990 * 1 / 120 + 10 * 10 * 0.05)


def test_a_run_without_scores_or_without_defective_images_costs_no_other_one(tmp_path):
    make_run(tmp_path / "results", "padim-0")
    make_run(tmp_path / "results", "patchcore-0", "Patchcore")
    (tmp_path / "results" / "runs" / "padim-0" / "scores.csv").unlink()
    make_run(tmp_path / "results", "cflow-0", "Cflow", thresholds={"image": None})
    table = runs_table(read_records(tmp_path / "results")[0])
    found, problems = read_candidates(configurations(table), table)
    assert {one.model for one in found} == {"Patchcore", "Cflow"} and "padim-0" in problems[0]
    assert ranking(found, Assumptions())["note"].tolist() == ["", NO_THRESHOLD]
    assert ranking([], Assumptions()).empty and DEPLOYED == Assumptions().threshold


def test_the_best_five_of_each_detector_take_part_also_where_less_is_better(tmp_path):
    for number in range(7):
        measured = {"image_AUROC": 0.5 + number / 20, "image_MissRate": number / 10}
        arguments = {"backbone": "resnet18", "layers": ["layer1"], "n_features": 100 + number}
        make_run(tmp_path / "results", f"padim-{number}", arguments=arguments, metrics=measured)
    table = runs_table(read_records(tmp_path / "results")[0])
    for criterion, expected in (("image_AUROC", {2, 3, 4, 5, 6}), ("image_MissRate", {0, 1, 2, 3, 4})):
        found, _ = read_candidates(configurations(table, criterion), table)
        assert {int(one.run_id.removeprefix("padim-")) for one in found} == expected


def test_the_sheet_says_what_the_threshold_in_force_promises_and_where_seeds_promise_different_things(tmp_path):
    make_calibrated(tmp_path, good=19)
    make_calibrated(tmp_path, good=19, number=1)
    table = runs_table(read_records(tmp_path)[0])
    ((one,), _) = read_candidates(configurations(table), table)
    assert one.seeds == 2 and one.promise == "at most 5 % of new good images are refused, as 19 good images show"
    make_calibrated(tmp_path, good=9, number=2)
    table = runs_table(read_records(tmp_path)[0])
    ((one,), _) = read_candidates(configurations(table), table)
    assert one.promise == DIFFERENT

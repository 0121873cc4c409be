"""Models that have seen labelled defects: ranked apart from the others, shown beside them, and against their number."""

import dataclasses

import pytest
from helpers.calibrated import make_calibrated
from helpers.results import make_labelled

from training_code.comparison.configurations import best_models, configurations
from training_code.comparison.decision_candidates import read_candidates
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.label_curves import label_curves
from training_code.comparison.level import mark_level
from training_code.comparison.ranks import label_classes, over_datasets, over_datasets_sentence
from training_code.comparison.table import runs_table
from training_code.records.reading import read_records, write_record


def _table(results):
    return runs_table(read_records(results)[0])


def _with(results, name, values):
    """Give the runs of the learner other values of a metric, by number of labels and seed."""
    for (number, seed), value in values.items():
        folder = results / "runs" / f"tiles-learner-{number}-{seed}"
        (record,) = [record for _, record in read_records(results)[0] if record.run_id == folder.name]
        write_record(folder, dataclasses.replace(record, metrics=record.metrics | {name: value}))


def test_a_table_says_how_many_labels_a_run_has_seen_and_for_what(tmp_path):
    make_labelled(tmp_path, (5, None), seeds=(0,))
    table = _table(tmp_path).set_index("run_id")
    columns = ["labels_seen", "labels_for_training", "labels_for_thresholds"]
    assert table.loc["tiles-learner-5-0", columns].tolist() == [10, 10, 10]
    assert table.loc["tiles-learner-all-0", columns].tolist() == [80, 80, 80]
    assert table.loc["tiles-patchcore-0", columns].tolist() == [0, 0, 0]


def test_held_out_labels_are_counted_once_and_those_that_are_trained_on_too(tmp_path):
    make_labelled(tmp_path, (20,), seeds=(0,))
    ((folder, record),) = [(folder, record) for folder, record in read_records(tmp_path)[0] if record.labels]
    on_labels = dataclasses.replace(record.calibration.labelled, images=4)
    calibration = dataclasses.replace(record.calibration, labelled=on_labels)
    write_record(folder, dataclasses.replace(record, labels=36, calibration=calibration))
    row = _table(tmp_path).set_index("run_id").loc["tiles-learner-20-0"]
    assert (row["labels_seen"], row["labels_for_training"], row["labels_for_thresholds"]) == (40, 36, 4)


def test_seeds_are_averaged_though_each_has_other_labelled_images(tmp_path):
    records = make_labelled(tmp_path, (5, 20), shift=100)
    models = configurations(_table(tmp_path))
    assert models["seeds"].tolist() == [3, 3, 3]
    found = [record.metrics["image_AUROC"] for record in records if record.run_id.startswith("tiles-learner-5-")]
    assert models["image_AUROC"][1] == pytest.approx(sum(found) / 3)


def test_models_with_labels_are_never_the_best_of_those_without(tmp_path):
    make_labelled(tmp_path, (5, 20))
    table = _table(tmp_path)
    best = best_models(table)
    assert best[["Model", "labels"]].values.tolist() == [
        ["Patchcore", "without labels"],
        ["Learner", "with labels"],
        ["Learner", "with labels"],
    ], "one without labels first, and one for each number of labels"
    assert best["image_AUROC"].iloc[2] > best["image_AUROC"].iloc[0]
    marked, _ = mark_level(configurations(table))
    assert marked["level_with_best"].tolist() == [True, True, True], "each is the best of its own"


def test_a_run_whose_thresholds_alone_rest_on_labels_is_apart_by_what_goes_by_thresholds(tmp_path):
    make_labelled(tmp_path, (20,), seeds=(0,))
    ((folder, record),) = [found for found in read_records(tmp_path)[0] if found[1].labels]
    write_record(folder, dataclasses.replace(record, labels=0))
    table = _table(tmp_path)
    assert configurations(table, "image_AUROC")["labels"].unique().tolist() == ["without labels"]
    by_f1 = configurations(table, "image_F1Score").set_index("Model")["labels"]
    assert by_f1.to_dict() == {"Patchcore": "without labels", "Learner": "with labels"}


def test_ranks_over_datasets_are_told_of_each_class(tmp_path):
    for dataset in ("a", "b", "c"):
        make_labelled(tmp_path, (5,), seeds=(0,), dataset=dataset)
    models = configurations(_table(tmp_path))
    assert label_classes(models) == ["without labels", "with labels"]
    for labels in label_classes(models):
        with pytest.raises(ValueError, match="here 3 and 1"):  # a model each: they are not ranked with each other
            over_datasets(models, "image_AUROC", labels=labels)
    assert over_datasets_sentence(models, "image_AUROC").count("here 3 and 1") == 2


def test_the_number_of_labels_is_a_condition_of_effects_and_one_of_them(tmp_path):
    records = make_labelled(tmp_path, (5, None))
    effects = effects_of_arguments(_table(tmp_path), "image_AUROC")
    assert set(effects["argument"]) == {"labels_of_each_type"}
    row = effects[effects["value"] == 5].iloc[0]
    few, all_of_them = (
        [record.metrics["image_AUROC"] for record in records if f"learner-{number}" in record.run_id]
        for number in (5, "all")
    )
    assert (row["reference"], row["pairs"]) == ("all", 3)
    assert row["difference"] == pytest.approx((sum(few) - sum(all_of_them)) / 3)


def test_the_gain_of_more_labels_is_told_with_its_uncertainty_over_seeds(tmp_path):
    make_labelled(tmp_path, (5, 20, 50))
    steps = {5: (0.3, 0.3, 0.3), 20: (0.4, 0.5, 0.6), 50: (0.44, 0.55, 0.66)}
    _with(tmp_path, "pixel_F1Score", {(n, seed): value for n, row in steps.items() for seed, value in enumerate(row)})
    table = _table(tmp_path)
    found = label_curves(table, configurations(table))
    whole = found[(found["defect type"] == "all defects") & (found["Model"] == "Learner")]
    assert whole["labels_seen"].tolist() == [10, 40, 100]
    assert whole["pixel_F1Score"].tolist() == pytest.approx([0.3, 0.5, 0.55])
    # Student's t with 2 degrees is 4.303: 0.1 / sqrt(3) of it for 20 labels, 0.01 / sqrt(3) for the differences.
    assert whole["pixel_F1Score_95"].tolist()[1] == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert whole["more_labels"].iloc[-1] == (
        "from 20 to 50 labels of each type pixel_F1Score rose by 0.050 ± 0.025 (95%, 3 seeds): more labels still pay"
    )
    assert whole["more_labels"].isna().sum() == 2, "it is told once"


def test_a_gain_within_what_seeds_differ_by_is_none(tmp_path):
    make_labelled(tmp_path, (5, 20))
    _with(tmp_path, "pixel_F1Score", {(5, seed): 0.5 for seed in range(3)} | {(20, 0): 0.4, (20, 1): 0.5, (20, 2): 0.7})
    table = _table(tmp_path)
    (said,) = label_curves(table, configurations(table))["more_labels"].dropna()
    assert said.startswith("from 5 to 20 labels of each type pixel_F1Score rose by 0.03 ± 0.38")
    assert said.endswith("the seeds do not tell whether more labels pay")


def test_a_loss_and_a_single_seed_are_told_as_such(tmp_path):
    make_labelled(tmp_path / "loss", (5, 20), seeds=(0, 1))
    values = {(5, 0): 0.5, (5, 1): 0.6, (20, 0): 0.4, (20, 1): 0.5}
    _with(tmp_path / "loss", "pixel_F1Score", values)
    table = _table(tmp_path / "loss")
    (said,) = label_curves(table, configurations(table))["more_labels"].dropna()
    assert said == (
        "from 5 to 20 labels of each type pixel_F1Score fell by 0.100 ± 0.000 (95%, 2 seeds): more labels do not pay"
    )
    make_labelled(tmp_path / "one", (5, None), seeds=(0,))
    table = _table(tmp_path / "one")
    (said,) = label_curves(table, configurations(table))["more_labels"].dropna()
    assert said.startswith("from 5 labels of each type to all 80 labels pixel_F1Score ")
    assert said.endswith("with one seed, which does not tell whether more labels pay")


def test_the_best_without_labels_stands_beside_the_curve_and_types_have_rows(tmp_path):
    records = make_labelled(tmp_path, (5, 20))
    table = _table(tmp_path)
    found = label_curves(table, configurations(table))
    assert found["Model"].tolist() == ["Patchcore"] * 3 + ["Learner"] * 6
    assert found["defect type"].tolist() == ["all defects", "hole", "scratch"] * 3
    missed = [record.metrics["image_MissRate"] for record in records if record.detector == "Patchcore"]
    assert found["image_MissRate"][0] == pytest.approx(sum(missed) / 3)


def test_without_labels_there_is_no_curve(tmp_path):
    make_labelled(tmp_path, ())
    table = _table(tmp_path)
    assert label_curves(table, configurations(table)).empty


def test_seeds_with_other_test_images_are_chosen_among_each_on_its_own(tmp_path):
    make_labelled(tmp_path / "apart", (5,), shift=100)
    make_labelled(tmp_path / "same", (5,))
    found, problems = zip(
        *(
            read_candidates(configurations(_table(place)), _table(place))
            for place in (tmp_path / "apart", tmp_path / "same")
        ),
        strict=True,
    )
    assert problems == ([], []), "none is left out"
    apart, same = found
    # Scores go by the run alone, in both folders: only names of images differ.
    assert [one.deployed.misses.tolist() for one in apart] == [one.deployed.misses.tolist() for one in same]
    assert [one.labels for one in apart] == ["without labels", "with labels (10 for training, 10 for thresholds)"]


def test_a_threshold_by_labels_says_what_it_rests_on(tmp_path):
    record = make_calibrated(tmp_path, good=199, labelled_scores=(150.0, 250.0, 300.0), threshold="labelled")
    (image, pixel) = (record.operating_points[kind] for kind in ("image", "pixel"))
    assert image.sentence == (
        "at most 5 % of new good images are refused, as 199 good images show, and the threshold is as near as that "
        "allows to the largest F1 on 3 labelled defects"
    )
    # The largest F1, 0.8, finds two of three without a false alarm: between 199, the highest of good ones, and 250.
    assert image.threshold == 224.5 and record.rules["conformal"].image.threshold < 199
    assert record.labels_for_thresholds == 3 and "3 labelled defects" in pixel.sentence

"""Results against the number of training images, and that models of different numbers are never ranked together."""

import dataclasses

import pytest
from helpers.results import make_few, make_labelled, make_results

from training_code.comparison.configurations import best_models, configurations
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.image_curves import image_curves
from training_code.comparison.label_curves import label_curves
from training_code.comparison.table import runs_table
from training_code.records.reading import read_records, write_record


def _table(results):
    return runs_table(read_records(results)[0])


def _curves(results, criterion="image_AUROC"):
    table = _table(results)
    return image_curves(table, configurations(table, criterion), criterion)


def _with(results, values):
    """Give the runs of PaDiM other values of image_AUROC, by number of images and seed."""
    for (number, seed), value in values.items():
        folder = results / "runs" / f"tiles-padim-{number}-{seed}"
        (record,) = [record for _, record in read_records(results)[0] if record.run_id == folder.name]
        write_record(folder, dataclasses.replace(record, metrics=record.metrics | {"image_AUROC": value}))


def test_each_configuration_has_a_row_for_each_number_with_its_mean_and_interval_over_draws(tmp_path):
    make_few(tmp_path)
    _with(tmp_path, {(1, seed): 0.6 for seed in range(3)} | {(4, 0): 0.7, (4, 1): 0.8, (4, 2): 0.9})
    _with(tmp_path, {("all", 0): 0.75, ("all", 1): 0.84, ("all", 2): 0.96})
    found = _curves(tmp_path)
    assert found["Model"].tolist() == ["Padim"] * 3 + ["Patchcore"] * 3
    padim = found[found["Model"] == "Padim"]
    assert padim["train_images_drawn"].tolist() == [1, 4, "all"] and padim["train_images"].tolist() == [1, 4, 40]
    assert padim["protocol"].unique().tolist() == ["64 × 64, conformal thresholds, 10% held out"]
    assert padim["image_AUROC"].tolist() == pytest.approx([0.6, 0.8, 0.85])
    # Student's t with 2 degrees is 4.303: 0.1 / sqrt(3) of it for 4 images, 0.01 / sqrt(3) for the differences.
    assert padim["image_AUROC_95"].tolist()[1] == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert padim["more_images"].tolist()[-1] == (
        "from 4 to 40 images image_AUROC rose by 0.050 ± 0.025 (95%, 3 seeds): more images still pay"
    )
    assert padim["more_images"].isna().sum() == 2, "it is told once"


def test_models_of_different_numbers_of_images_are_never_ranked_together(tmp_path):
    make_few(tmp_path, (1, 4, None))
    best = best_models(_table(tmp_path))
    protocols = best["protocol"].unique().tolist()
    assert len(protocols) == 3 and len(best) == 6, "each detector has a best one for each number"
    assert [name.partition("held out")[2] for name in sorted(protocols)] == [
        "",
        ", 1 training image",
        ", 4 training images",
    ]


def test_what_more_images_change_is_an_effect_of_its_own(tmp_path):
    records = make_few(tmp_path, (4, None))
    effects = effects_of_arguments(_table(tmp_path), "image_AUROC")
    row = effects[(effects["Model"] == "Padim") & (effects["value"] == 4)].iloc[0]
    few, every = (
        [record.metrics["image_AUROC"] for record in records if f"padim-{number}-" in record.run_id]
        for number in (4, "all")
    )
    assert (row["argument"], row["reference"], row["pairs"]) == ("train_images_drawn", "all", 3)
    assert row["difference"] == pytest.approx((sum(few) - sum(every)) / 3)


def test_there_is_no_curve_where_all_runs_have_the_same_images(tmp_path):
    make_results(tmp_path / "all")
    make_few(tmp_path / "four", (4,))
    make_labelled(tmp_path / "labels", (5, 20))
    for name in ("all", "four", "labels"):
        assert _curves(tmp_path / name).empty
    few = _table(tmp_path / "four")
    assert label_curves(few, configurations(few)).empty

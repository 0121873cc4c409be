import itertools

import numpy as np
import openpyxl
import pandas as pd
import pytest
from helpers.calibrated import make_calibrated
from helpers.results import DETECTORS, make_results, make_run

from training_code.comparison.costs import on_front
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.ranks import over_datasets
from training_code.comparison.table import runs_table
from training_code.detectors.registry import get_detector
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.reporting.column_help import help_for
from training_code.reporting.sheets import all_sheets, choose_runs, compare, explained, printed, summary
from training_code.reporting.workbook import write_workbook


def _compare(results, criterion="image_AUROC"):
    runs, problems = read_records(results)
    return compare(runs_table(runs), problems, criterion)


def _tables(results, criterion="image_AUROC"):
    return {sheet.name: sheet.table for sheet in all_sheets(_compare(results, criterion), results)}


def test_every_sheet_is_there_in_its_order(tmp_path):
    make_results(tmp_path, datasets=("b", "a"))
    assert list(_tables(tmp_path)) == [
        "Decision",
        "Winner",
        "Best models",
        "Comparison a",
        "Comparison b",
        "All runs",
        "By backbone",
        "By dataset",
        "By defect type",
        "Hyper-parameters",
        "Speed and size",
        "Examples",
        "Decision models",
        "Curves",
        "Failed",
        "About",
    ]


def test_pivots_hold_the_means_of_the_configurations(tmp_path):
    records = make_results(tmp_path)
    mean = np.mean([record.metrics["image_AUROC"] for record in records if record.detector == "Padim"])
    tables = _tables(tmp_path)
    by_backbone = tables["By backbone"].set_index("Model")
    assert by_backbone.loc["Padim", "ResNet18"] == pytest.approx(mean)
    assert np.isnan(by_backbone.loc["Padim", "ResNet50"])
    (column,) = [name for name in tables["By dataset"] if name.startswith("d, ")]
    assert tables["By dataset"].set_index("Model").loc["Padim", column] == pytest.approx(mean)
    by_type = tables["By defect type"].set_index(["defect type", "metric"])
    assert by_type.loc[("hole", "image_AUROC"), "Padim"] == pytest.approx(mean)
    assert by_type.loc[("hole", "image_AUROC"), "images"] == 7


def test_no_sheet_mixes_states_of_the_code(tmp_path):
    values = {"old": ("a", 1, 100, 0.9), "older": ("0", 1, 200, 0.95), "new": ("b", 2, 100, 0.6)}
    for name, (code, day, features, value) in values.items():
        make_run(
            tmp_path,
            name,
            arguments=DETECTORS["Padim"] | {"n_features": features},
            code_sha256=code * 64,
            finished=f"2026-01-0{day}T00:00:00+00:00",
            metrics={"image_AUROC": value},
            by_defect_type={"hole": {"images": 7, "image_AUROC": value}},
            counts={"train/good": 201, "test/good": 7},
        )
    tables = _tables(tmp_path)
    assert tables["By backbone"]["ResNet18"].tolist() == [0.6] and tables["By dataset"].iloc[0, -1] == 0.6
    (best,) = tables["Best models"].to_dict("records")
    assert (best["run_id"], best["code"]) == ("older", "other code")
    assert tables["By defect type"]["Padim"].tolist() == [0.95]
    assert tables["Hyper-parameters"].empty, "runs of 100 and of 200 features have different code"
    assert sorted(tables["Speed and size"]["configuration"]) == [
        "100 features",
        "100 features, other code aaaaaaaa",
        "200 features, other code 00000000",
    ]
    assert summary(_compare(tmp_path))["marks"].tolist() == ["other code"]


def test_ranks_over_datasets_go_by_the_newest_code_alone(tmp_path):
    make_results(tmp_path, datasets=("a", "b", "c"), seeds=(0,))
    models = _compare(tmp_path).models
    assert set(over_datasets(models, "image_AUROC").ranks.index) == {"Padim", "Patchcore", "Cflow"}
    older = models.assign(code=models["code"].where(models["Model"] != "Cflow", "other code"))
    with pytest.raises(ValueError, match="here 3 and 2"):
        over_datasets(older, "image_AUROC")


def test_what_failed_and_what_could_not_be_read_is_listed(tmp_path):
    make_run(tmp_path, "good")
    make_run(tmp_path, "bad", seed=1, status="timeout", metrics={}, error="a cell took longer than 20 s")
    (tmp_path / "runs" / "half").mkdir()
    (tmp_path / "runs" / "old").mkdir()
    (tmp_path / "runs" / "old" / "run.json").write_text('{"schema_version": 1}')
    failed = _tables(tmp_path)["Failed"]
    assert failed["status"].tolist() == ["timeout", "not read", "not read"]
    assert "longer than 20 s" in failed["error"][0] and "unfinished" in failed["error"][1]
    assert "schema version 1" in failed["error"][2]


def test_the_effect_of_an_argument_is_the_mean_over_pairs_that_share_everything_else(tmp_path):
    values = {(50, 0): 0.6, (100, 0): 0.7, (50, 1): 0.7, (100, 1): 0.75, (200, 1): 0.9}
    for (features, seed), auroc in values.items():
        arguments = DETECTORS["Padim"] | {"n_features": features}
        metrics = {"image_AUROC": auroc}
        make_run(tmp_path, f"r{features}-{seed}", seed=seed, arguments=arguments, metrics=metrics)
    effects = effects_of_arguments(runs_table(read_records(tmp_path)[0]), "image_AUROC").set_index("value")
    assert set(effects["argument"]) == {"n_features"} and set(effects["reference"]) == {50}
    assert effects.loc[100, "pairs"] == 2 and effects.loc[100, "difference"] == pytest.approx((0.1 + 0.05) / 2)
    assert effects.loc[200, "pairs"] == 1 and effects.loc[200, "difference"] == pytest.approx(0.2)
    assert effects.loc[50, "pairs"] == 2 and np.isnan(effects.loc[50, "difference"])


def test_the_front_holds_what_nothing_beats_at_no_higher_cost():
    cost, value = pd.Series([1.0, 2.0, 2.0, 3.0, None]), pd.Series([0.5, 0.4, 0.7, 0.7, 0.9])
    assert on_front(cost, value) == [True, False, True, False, None]


def test_detectors_are_ranked_over_datasets_where_there_are_enough(tmp_path):
    make_results(tmp_path / "few", datasets=("a", "b"), seeds=(0,))
    with pytest.raises(ValueError, match="at least 3 datasets"):
        over_datasets(_compare(tmp_path / "few").models, "image_AUROC")
    make_results(tmp_path / "many", datasets="abcdef", seeds=(0,))
    found = over_datasets(_compare(tmp_path / "many").models, "image_AUROC")
    assert found.ranks.idxmin() == "Padim" and found.ranks.idxmax() == "Cflow" and found.p_value < 0.05
    assert "Average ranks: Padim" in _tables(tmp_path / "many")["About"].to_csv()


def test_a_dataset_counts_once_however_many_image_sizes_it_was_run_at(tmp_path):
    make_results(tmp_path, datasets="abc", seeds=(0,))
    for dataset in "abc":
        make_run(tmp_path, f"large-{dataset}", dataset=dataset, identity={"image_size": (128, 128)})
    found = over_datasets(_compare(tmp_path).models, "image_AUROC")
    assert len(found.ranks) == 3 and found.ranks.sum() == pytest.approx(6)
    assert found.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 3)), abs=2e-3)  # Demšar's table 5


def test_datasets_and_seeds_can_be_chosen_and_wrong_ones_are_refused(tmp_path):
    make_results(tmp_path, datasets=("a", "b"))
    table = runs_table(read_records(tmp_path)[0])
    assert set(choose_runs(table, ["a"], [1, 2])["run_id"]) == {
        f"{name}-a-{seed}" for name in ("padim", "patchcore", "cflow") for seed in (1, 2)
    }
    with pytest.raises(InputError, match="unknown dataset 'c'.*valid: a, b"):
        choose_runs(table, ["c"])
    with pytest.raises(InputError, match="nothing has been run on textures yet: .*; there are runs of a and b$"):
        choose_runs(table, ["textures"])
    with pytest.raises(InputError, match="unknown seed 9"):
        choose_runs(table, (), [9])


def test_the_summary_marks_what_is_not_fair(tmp_path):
    make_run(tmp_path, "x", counts={"train/good": 100, "test/good": 7})
    make_run(tmp_path, "a", "Cflow", dataset="e", metrics={"image_AUROC": 0.5})
    runs = read_records(tmp_path)[0]
    table = runs_table(runs)
    table["leak"] = ["a.png has the content of a training image" if name == "x" else None for name in table["run_id"]]
    shown = summary(compare(table)).set_index("Model")
    assert shown.loc["Padim", "marks"] == "leak, undetermined" and shown.loc["Cflow", "marks"] == "reduced"
    assert shown.loc["Padim", "level"] == "the best" and shown.loc["Cflow", "image_AUROC"] == "0.500"


def test_the_terminal_shows_together_what_can_be_compared_and_no_wider_than_it_is(tmp_path):
    make_results(tmp_path, datasets=("b", "a"))
    shown = summary(_compare(tmp_path))
    lines = [*printed(shown, 160)]
    headings = [line.removesuffix(":").strip() for line in lines if line.endswith(":")]
    assert [heading.partition(", ")[0] for heading in headings] == ["a", "b"] and max(map(len, lines)) <= 160
    for heading in headings:
        below = lines[lines.index(f"\n{heading}:") + 1 :]
        assert below[0].split()[:2] == ["Model", "image_AUROC"] and "protocol" not in below[0]
        models = shown.loc[shown["dataset"] == heading.partition(", ")[0], "Model"]
        own = [*itertools.takewhile(lambda line: not line.startswith("\n"), below[1:])]
        assert [line.split()[0] for line in own if not line.startswith(" ")] == [*models]
        assert (
            sum(line.count("±") for line in own) == shown.loc[models.index].astype(str).sum(axis=1).str.count("±").sum()
        )
    assert [*printed(shown[:0], 80)] == []


def test_the_terminal_explains_the_marks_that_occur_and_no_others():
    level, *marks = explained(pd.DataFrame({"marks": ["", "reduced, F1Score below all bad", "other code"]}))
    assert level.startswith("level: yes where it cannot be told from the best")
    assert [mark.partition(": ")[0] for mark in marks] == ["other code", "reduced", "F1Score below all bad"]
    assert marks[0].startswith("other code: not of the newest code of this detector")
    assert marks[1] == "reduced: Settings below the paper's: the model is not what its detector can do."
    assert marks[2].startswith("F1Score below all bad: F1 of calling every test image defective")
    assert explained(pd.DataFrame({"marks": [""]})) == [level]


def test_without_good_runs_the_sheets_are_empty_but_there(tmp_path):
    make_run(tmp_path, "bad", status="failed", metrics={}, times={}, error="x")
    tables = _tables(tmp_path)
    assert tables["Best models"].empty and len(tables["Failed"]) == 1
    assert "Comparison d" not in tables and len(tables["About"])


def test_names_of_sheets_are_what_a_spreadsheet_allows(tmp_path):
    for name in ("a/b:c*d" + "x" * 40, "a/b:c*d" + "x" * 41):
        make_run(tmp_path, f"r{len(name)}", dataset=name)
    names = [name for name in _tables(tmp_path) if name.startswith("Comparison")]
    assert len(set(names)) == 2 and all(len(name) <= 31 and not set(name) & set("[]:*?/\\") for name in names)


def test_the_best_models_say_by_which_rule_their_thresholds_were_found_and_what_they_promise(tmp_path):
    make_calibrated(tmp_path, good=18, alpha=0.01)
    tables = _tables(tmp_path)
    (best,) = tables["Best models"].to_dict("records")
    assert (best["threshold_rule"], best["image_promise"]) == ("conformal", 1 / 19)
    assert best["image_promise_sentence"].startswith("18 good images allow no promise below 5.3 %: at most 5.3 %")
    (run,) = tables["All runs"].to_dict("records")
    assert (run["pixel_promise"], run["calibration_images"], run["calibration_parts"]) == (1 / 19, 18, 18)
    shown = {name for sheet in tables.values() for name in sheet if "promise" in str(name) or "calibr" in str(name)}
    assert not [name for name in shown if help_for(name, "") == ""]


def test_only_arguments_of_detectors_are_explained_as_such(tmp_path):
    make_run(tmp_path, "padim")
    others = set(_tables(tmp_path)["All runs"]) - set(get_detector("Padim").arguments)
    assert not {name for name in others if help_for(name, "") == ""}
    assert "divided by the seconds" in help_for("test_images_per_s") and "is kept" in help_for("notes")


def test_the_values_by_defect_type_are_of_the_metric_of_their_row(tmp_path):
    make_run(tmp_path, "padim")
    write_workbook(tmp_path / "w.xlsx", all_sheets(_compare(tmp_path), tmp_path))
    heads = {cell.value: cell.comment.text for cell in openpyxl.load_workbook(tmp_path / "w.xlsx")["By defect type"][1]}
    assert heads["Padim"].endswith("Value of the metric that the row names.")

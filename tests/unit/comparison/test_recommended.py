"""The best run is the one that the sheet Decision recommends, and its sentence says what its errors cost."""

import csv

import pytest
from helpers.results import DETECTORS, make_run

from inference_code.runs import find_run
from training_code.comparison import decision_candidates
from training_code.comparison.configurations import configurations
from training_code.comparison.decision import Assumptions, protocols_of, ranking
from training_code.comparison.decision_candidates import read_candidates
from training_code.comparison.recommended import best_by, recommended
from training_code.comparison.table import runs_table
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.reporting.decision_answer import answer
from training_code.reporting.sheets import all_sheets, compare

LINE = "a day on the example of a line"


def _run(results, run_id, detector, errors, auroc=0.9, **changes):
    """Write a run that refuses so many of 9 good test images and misses so many of 15 defective ones."""
    refused, missed = errors
    make_run(results, run_id, detector, dataset="boards", metrics={"image_AUROC": auroc}, **changes)
    scores = [("good", number < refused) for number in range(9)]
    scores += [("hole", number >= missed) for number in range(15)]
    with open(results / "runs" / run_id / "scores.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "defect_type", "label", "score", "prediction"])
        for number, (kind, called) in enumerate(scores):
            path, score = f"test/{kind}/{number:03d}.png", 0.9 if called else 0.1
            writer.writerow([path, kind, int(kind != "good"), score, int(called)])


def _table(results):
    return runs_table(read_records(results)[0])


def test_a_run_whose_threshold_misses_every_defect_is_not_the_best_however_high_its_auroc(tmp_path):
    _run(tmp_path, "padim-a", "Padim", (0, 15), 0.84)
    _run(tmp_path, "patchcore-a", "Patchcore", (0, 9), 0.8)
    _run(tmp_path, "cflow-a", "Cflow", (1, 0), 0.7)  # 990 of 1,000 parts are good: a ninth of them costs 110 a day
    found, _ = recommended(_table(tmp_path))
    errors = "on its test images it refused 0 of 9 good and missed 9 of 15 defective"
    assert found.sentence == f"best of boards: patchcore-a, 60 {LINE}; {errors}"
    assert best_by(_table(tmp_path), "image_AUROC").sentence == "best of boards: padim-a, by image_AUROC (0.840)"
    costly, _ = recommended(_table(tmp_path), Assumptions(miss_cost=100))
    assert costly.run_id == "cflow-a" and costly.why.startswith(f"110 {LINE}; ")


@pytest.mark.parametrize(
    ("line", "idle", "cost"),
    [({}, "passing", 100), ({"defective_share": 0.5}, "refusing", 500)],
)
def test_a_best_run_that_is_worth_nothing_is_said_to_be(tmp_path, line, idle, cost):
    _run(tmp_path, "padim-a", "Padim", (9, 15))
    why = recommended(_table(tmp_path), Assumptions(**line))[0].why
    assert f"{LINE}, which is worth nothing: {idle} every part costs {cost}; " in why


def test_the_best_run_is_that_of_the_sheet_decision(tmp_path):
    for number, (detector, errors) in enumerate([("Padim", (0, 8)), ("Patchcore", (0, 3)), ("Cflow", (0, 5))]):
        for seed in range(3):
            changes = {"seed": seed, "auroc": 0.9 - number / 10 + seed / 100}
            _run(tmp_path, f"{detector.lower()}-{seed}", detector, (errors[0], errors[1] + seed), **changes)
    table = _table(tmp_path)
    sheet = next(sheet for sheet in all_sheets(compare(table), tmp_path) if sheet.name == "Decision")
    found, _ = recommended(table)
    assert found.run_id == sheet.table["run_id"].iloc[0] == "patchcore-1"
    (cost,) = {f"{sheet.table['cost_a_day'].iloc[0]:.4g}"}
    assert cost == "26.67" and found.why.startswith(f"{cost} {LINE}, the mean of 3 seeds; ")
    assert found.why.endswith("missed 4 of 15 defective"), "those of the run itself"


def test_of_several_protocols_that_with_most_models_is_taken_and_named(tmp_path):
    _run(tmp_path, "padim-a", "Padim", (0, 8))
    _run(tmp_path, "patchcore-a", "Patchcore", (0, 5))
    _run(tmp_path, "padim-b", "Padim", (0, 0), identity={"image_size": (96, 96)})
    found, _ = recommended(_table(tmp_path))
    assert found.run_id == "patchcore-a" and found.of.startswith("boards: 64 × 64, ")


def test_where_decision_chooses_no_model_no_run_of_another_protocol_is_the_best(tmp_path):
    without = {"thresholds": {"image": None}}
    _run(tmp_path, "padim-a", "Padim", (0, 8), **without)
    _run(tmp_path, "patchcore-a", "Patchcore", (0, 5), **without)
    _run(tmp_path, "padim-b", "Padim", (0, 0), 0.95, identity={"image_size": (96, 96)})
    table = _table(tmp_path)
    (said,) = filter(None, answer(compare(table).candidates, Assumptions()))
    assert said.startswith("On boards no model can be chosen"), "what Decision says"
    protocol = r"boards: 64 × 64, [^;]*, none can be chosen \(no threshold in force\)"
    other = r"or the id of a run, such as the best of other protocols: padim-b \(boards: 96 × 96, [^;]*\)$"
    with pytest.raises(InputError, match=f"no run of boards: of its protocol with most models, {protocol}; .*{other}"):
        recommended(table)
    with pytest.raises(InputError, match="no run of boards"):
        find_run("best", tmp_path)
    assert find_run("best", tmp_path, criterion="image_AUROC").name == "padim-b"


def test_as_many_models_of_a_dataset_take_part_as_in_the_decision_over_all_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr(decision_candidates, "MOST", 4)
    for number, missed in enumerate((9, 0)):  # the cheapest is not the best one by the criterion
        arguments = DETECTORS["Padim"] | {"n_features": 10 + number}
        _run(tmp_path, f"padim-{number}", "Padim", (0, missed), 0.9 - number / 10, arguments=arguments)
    assert recommended(_table(tmp_path))[0].run_id == "padim-1"
    for number in range(3):
        make_run(tmp_path, f"other-{number}", "Cflow", dataset=f"tiles{number}")
    table = _table(tmp_path)
    candidates = compare(table).candidates
    chosen = ranking(candidates, Assumptions(), protocols_of(candidates)["boards"][0])
    assert recommended(table, dataset="boards")[0].run_id == chosen["run_id"].iloc[0] == "padim-0"


def test_without_false_alarms_and_misses_nothing_is_recommended(tmp_path):
    _run(tmp_path, "padim-a", "Padim", (0, 8), thresholds={"image": None})
    make_run(tmp_path, "patchcore-a", "Patchcore", dataset="boards", types=("good",))
    assert recommended(_table(tmp_path)) == (None, [])
    assert best_by(_table(tmp_path), "image_AUROC").run_id == "padim-a"
    assert best_by(_table(tmp_path), "pixel_AUROC") is None
    with pytest.raises(InputError, match="unknown criterion 'AUC'"):
        best_by(_table(tmp_path), "AUC")


def test_points_of_thresholds_in_force_are_the_same_without_the_curves(tmp_path):
    for number in range(3):
        arguments = DETECTORS["Padim"] | {"n_features": 10 + number}
        _run(tmp_path, f"padim-{number}", "Padim", (number, 3 * number), arguments=arguments)
    table = _table(tmp_path)
    models = configurations(table)
    with_curves, without = (read_candidates(models, table, given)[0] for given in (True, False))
    columns = ["run_id", "threshold", "cost_a_day", "cost_a_day_low", "cost_a_day_high"]
    expected = ranking(with_curves, Assumptions())[columns].values.tolist()
    assert ranking(without, Assumptions())[columns].values.tolist() == expected and len(expected) == 3

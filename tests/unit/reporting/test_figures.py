import itertools

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import draw
from helpers.results import DETECTORS, make_results, make_run

from training_code.comparison.costs import speed_and_size
from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.reporting import figures
from training_code.reporting.gallery import disagreements, draw_gallery, load_scores, missed_by_all
from training_code.reporting.sheets import by_defect_type, compare


def _compared(results):
    return compare(runs_table(read_records(results)[0]))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    make_results(results, datasets=("a", "b", "c"))
    return _compared(results)


@pytest.mark.slow
@pytest.mark.filterwarnings("error:constrained_layout")
def test_every_picture_is_drawn(compared):
    table, best = compared.runs, compared.best
    scores, problems = load_scores(best)
    assert not problems and len(scores) == 9
    curves = draw(figures.draw_curves(best, scores))
    assert [line.get_label() for line in curves.axes[1].lines] == ["Padim", "Patchcore", "Cflow"]
    draw(figures.draw_main_metrics(table))
    histograms = draw(figures.draw_scores(best, scores, table.set_index("run_id")["image_threshold"].to_dict()))
    assert sum(axis.get_visible() for axis in histograms.axes) == 9
    assert {axis.lines[0].get_label() for axis in histograms.axes} == {"threshold, conformal"}
    front = draw(figures.draw_front(speed_and_size(compared.models, "image_AUROC"), "image_AUROC"))
    assert len(front.axes) == 3
    bars = draw(figures.draw_defect_types(by_defect_type(table, best).table))
    assert len(bars.axes) == 6
    draw(figures.draw_agreement(best, scores))
    draw(figures.draw_hyper_parameters(table, "image_AUROC"))
    (ranks,) = draw(figures.draw_ranks(compared.models, "image_AUROC")).axes
    assert ranks.get_title() == "average rank over datasets, without labels, 1 is the best"


@pytest.mark.filterwarnings("error:constrained_layout")
def test_names_of_types_of_defects_are_read_apart():
    kinds = [f"{name} {number} %" for number in range(4) for name in ("area below", "area of at least")]
    rows = {
        "dataset": "a dataset",
        "protocol": "256 × 256, conformal thresholds",
        "metric": "image_AUROC",
        "images": 10,
    }
    table = pd.DataFrame([{**rows, "defect type": kind, "Padim": 0.9, "Patchcore": None} for kind in kinds])
    (axis,) = draw(figures.draw_defect_types(table)).axes
    boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert len(boxes) == 8
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert axis.get_legend_handles_labels()[1] == ["Padim"], "what has no value there has no bar"


def test_the_roc_curve_is_that_of_the_scores(compared):
    scores, _ = load_scores(compared.best)
    line = figures.draw_curves(compared.best, scores).axes[0].lines[0]
    x, y = line.get_xdata(), line.get_ydata()
    first = compared.best.iloc[0]
    run = compared.runs.set_index("run_id").loc[first["run_id"]]
    assert np.trapezoid(y, x) == pytest.approx(run["image_AUROC"])


def test_a_map_of_two_arguments_holds_no_mean_over_states_of_the_code(tmp_path):
    for name, code, features, value in (("a", "a", 100, 0.9), ("b", "b", 100, 0.5), ("c", "b", 200, 0.6)):
        finished = f"2026-01-0{1 + (code == 'b')}T00:00:00+00:00"
        arguments = DETECTORS["Padim"] | {"n_features": features}
        metrics = {"image_AUROC": value}
        make_run(tmp_path, name, arguments=arguments, metrics=metrics, code_sha256=code * 64, finished=finished)
    figure = figures.draw_hyper_parameters(_compared(tmp_path).runs, "image_AUROC")
    numbers = [float(text.get_text()) for axis in figure.axes for text in axis.texts]
    assert numbers == [0.5, 0.6], "0.7 would be a mean over two states"
    assert figure.axes[0].get_title() == "Padim on d: image_AUROC", "no run has seen labels"


def test_without_runs_pictures_say_so(tmp_path):
    make_run(tmp_path, "bad", status="failed", metrics={}, times={}, error="x")
    compared = _compared(tmp_path)
    assert "no run" in draw(figures.draw_main_metrics(compared.runs)).axes[0].get_title()
    assert "no scores" in draw(figures.draw_curves(compared.best, {})).axes[0].get_title()
    assert "no scores" in draw(figures.draw_scores(compared.best, {}, {})).axes[0].get_title()
    draw(figures.draw_front(speed_and_size(compared.models, "image_AUROC"), "image_AUROC"))
    draw(figures.draw_defect_types(by_defect_type(compared.runs, compared.best).table))
    draw(figures.draw_agreement(compared.best, {}))
    draw(figures.draw_hyper_parameters(compared.runs, "image_AUROC"))
    assert "nothing" in draw(draw_gallery({}, "nothing")).axes[0].get_title()


@pytest.mark.slow
def test_names_with_dollars_are_no_formulas(tmp_path):
    make_results(tmp_path, datasets=("a$b$c",), seeds=(0,))
    compared = _compared(tmp_path)
    title = figures.draw_curves(compared.best, load_scores(compared.best)[0]).axes[0].get_title(loc="left")
    assert title.startswith("a$b$c")


def _scores_file(results, run_id, rows):
    lines = "".join(f"{path},{kind},{label},{score},{called}\n" for path, kind, label, score, called in rows)
    (results / "runs" / run_id / "scores.csv").write_text("path,defect_type,label,score,prediction\n" + lines)


@pytest.fixture
def two_models(tmp_path):
    """Two models on four images: x is missed by both, y by the second, z is a false alarm of the first."""
    for name, detector in (("one", "Padim"), ("two", "Patchcore")):
        make_run(tmp_path, name, detector, metrics={"image_AUROC": 0.9 if name == "one" else 0.8})
    first = [("x.png", "hole", 1, 0.1, 0), ("y.png", "hole", 1, 0.9, 1), ("z.png", "good", 0, 0.8, 1)]
    second = [("x.png", "hole", 1, 0.2, 0), ("y.png", "hole", 1, 0.3, 0), ("z.png", "good", 0, 0.1, 0)]
    _scores_file(tmp_path, "one", first)
    _scores_file(tmp_path, "two", second)
    return _compared(tmp_path)


def test_images_that_everyone_misses_and_over_which_two_disagree_are_found(two_models):
    scores, _ = load_scores(two_models.best)
    (missed,) = missed_by_all(two_models.models, scores).values()
    assert [telling.path.name for telling in missed] == ["x.png"] and missed[0].words == "hole, missed by all 2"
    (pairs,) = disagreements(two_models.best, scores).values()
    assert sorted(telling.path.name for telling in pairs) == ["y.png", "z.png"]
    assert all("Padim calls it abnormal,\nPatchcore does not" in telling.words for telling in pairs)
    draw(draw_gallery({"d": missed}, "none"))  # the images are not there: their names are


def test_a_run_without_scores_is_left_out_and_told(two_models, tmp_path):
    (tmp_path / "runs" / "two" / "scores.csv").unlink()
    scores, problems = load_scores(two_models.best)
    assert list(scores) == ["one"] and "no scores of two" in problems[0]
    assert not disagreements(two_models.best, scores)

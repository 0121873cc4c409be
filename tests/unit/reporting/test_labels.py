"""What is shown of labels: a sheet with charts, pictures, and defects that are found with labels alone."""

import io

import openpyxl
import pytest
from helpers.pictures import draw
from helpers.results import make_labelled, make_results
from PIL import Image

from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.records.scores import read_scores
from training_code.reporting.gallery import MOST_OF_A_SIDE, draw_found_by_one, found_by_one_class
from training_code.reporting.label_figures import draw_label_curves, draw_labels_by_type, more_labels_in_words
from training_code.reporting.sheets import all_sheets, compare, summary
from training_code.reporting.workbook import write_workbook


def _compared(results):
    runs, problems = read_records(results)
    return compare(runs_table(runs), problems)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    make_labelled(folder, (5, 20, None))
    return folder, _compared(folder)


def test_the_sheet_labels_is_there_where_something_has_seen_labels(made, tmp_path):
    folder, compared = made
    names = [sheet.name for sheet in all_sheets(compared, folder)]
    assert names.index("Labels") == names.index("By defect type") + 1
    make_results(tmp_path)
    sheets = {sheet.name: sheet.table for sheet in all_sheets(_compared(tmp_path), tmp_path)}
    assert "Labels" not in sheets and not {"labels", "labels_for_training"} & set(sheets["Best models"])


def test_charts_have_a_curve_for_each_configuration_and_a_line_for_the_best_without_labels(made, tmp_path):
    folder, compared = made
    for _ in range(2):  # a workbook that is made again has them once
        assert write_workbook(tmp_path / "w.xlsx", all_sheets(compared, folder)) == []
    sheet = openpyxl.load_workbook(tmp_path / "w.xlsx")["Labels"]
    assert len(sheet._charts) == 3
    drawn = {}
    for series in sheet._charts[0].series:
        places = (series.xVal.numRef.f, series.yVal.numRef.f)
        columns = [[cell.value for (cell,) in sheet[place.split("!")[1].replace("$", "")]] for place in places]
        drawn[series.tx.v] = columns
    without = compared.best.set_index("labels").loc["without labels", "image_AUROC"]
    name = "Patchcore, ResNet50, 2 layers, 0.1 sampling, 5 neighbors, without labels"
    assert drawn.keys() == {name, "Learner, 5 epochs"}
    assert drawn[name] == [[0, 80], [pytest.approx(without)] * 2], "a horizontal line"
    assert drawn["Learner, 5 epochs"][0] == [10, 40, 80]
    best = compared.best[compared.best["labels"] == "with labels"]["image_AUROC"]
    assert drawn["Learner, 5 epochs"][1] == pytest.approx(best.tolist())


def test_best_models_say_what_labels_they_have_seen(made):
    folder, compared = made
    (best,) = [sheet.table for sheet in all_sheets(compared, folder) if sheet.name == "Best models"]
    assert best[["labels", "labels_for_training"]].values.tolist() == [
        ["without labels", 0],
        ["with labels", 10],
        ["with labels", 40],
        ["with labels", 80],
    ]
    assert summary(compared)["labels"].tolist() == ["0", "10", "40", "80"]


@pytest.mark.filterwarnings("error:constrained_layout")
def test_pictures_show_the_curve_and_the_line_without_labels(made):
    _, compared = made
    figure = draw(draw_label_curves(compared.labels))
    assert [axis.get_ylabel() for axis in figure.axes] == ["image_AUROC", "pixel_F1Score", "image_MissRate"]
    curve, line = figure.axes[0].lines[0], figure.axes[0].lines[-1]
    assert curve.get_xdata().tolist() == [10, 40, 80]
    assert line.get_ydata()[0] == pytest.approx(compared.best["image_AUROC"][0])
    by_type = draw(draw_labels_by_type(compared.labels))
    assert [axis.get_title() for axis in by_type.axes] == ["tiles: hole", "tiles: scratch"] * 2
    (said,) = more_labels_in_words(compared.labels)
    assert said.startswith("tiles, Learner, 5 epochs: from 20 labels of each type to all 80 labels pixel_F1Score rose")


@pytest.mark.filterwarnings("error:constrained_layout")
def test_long_names_of_configurations_leave_room_for_the_curves(made):
    _, compared = made
    parts = ", ".join(f"Learner EfficientNet-Lite0 (hidden {number}, lr 0.003)" for number in range(3))
    figure = draw(draw_label_curves(compared.labels.assign(configuration=parts)))
    assert all(axis.get_position().width * figure.get_figwidth() > 2 for axis in figure.axes), "inches"


def test_pictures_say_that_nothing_has_seen_labels(tmp_path):
    make_results(tmp_path)
    compared = _compared(tmp_path)
    for make in (draw_label_curves, draw_labels_by_type):
        assert draw(make(compared.labels)).axes[0].get_title() == "no run has seen labelled defects"
    assert found_by_one_class(compared.runs, compared.best, "image_AUROC") == ({}, [])


def test_the_gallery_has_what_is_found_with_labels_alone_and_the_reverse(tmp_path):
    make_labelled(tmp_path, (5, None), shift=100)  # seeds have other test images: runs of one seed are compared
    compared = _compared(tmp_path)
    found, problems = found_by_one_class(compared.runs, compared.best, "image_AUROC")
    ((title, each),) = found.items()
    assert problems == [] and title == "tiles, 64 × 64, 10% held out, 50% of the defects labelled"
    assert (each.with_labels, each.without_labels) == ("Learner", "Patchcore")
    expected = []
    for seed in range(3):
        one, two = (read_scores(tmp_path / f"runs/tiles-{name}-{seed}") for name in ("learner-all", "patchcore"))
        sides = ((one, two), (two, one))
        expected.append(
            [
                {
                    path
                    for path, bad, hit, other in zip(a.paths, a.labels, a.called, b.called, strict=True)
                    if bad and hit and not other
                }
                for a, b in sides
            ]
        )
    ends = [{"/".join(telling.path.parts[-3:]) for telling in side} for side in (each.only_with, each.only_without)]
    assert ends in expected and ends[0], "of one of the seeds"


def test_the_gallery_is_drawn_side_by_side(made, tmp_path):
    _, compared = made
    for kind in ("hole", "scratch"):
        (tmp_path / "tiles" / "test" / kind).mkdir(parents=True)
        for number in range(60):
            Image.new("RGB", (20, 10), (number, 9, 9)).save(tmp_path / "tiles/test" / kind / f"{number:03d}.png")
    best = compared.best.assign(dataset_folder=str(tmp_path / "tiles"))
    found, _ = found_by_one_class(compared.runs, best, "image_AUROC")
    (each,) = found.values()
    figure = draw_found_by_one(found)
    figure.savefig(io.BytesIO(), dpi=20)
    left, right = figure.subfigs
    shown = [sum(bool(axis.images) for axis in side.axes) for side in (left, right)]
    assert shown == [min(len(each.only_with), MOST_OF_A_SIDE), min(len(each.only_without), MOST_OF_A_SIDE)]
    assert left.get_suptitle() == (
        f"{len(each.only_with)} of tiles: Learner, with labels, finds them;\nPatchcore misses them"
    )

"""What is shown of few training images: a sheet with charts, a picture, and a sentence."""

import openpyxl
import pytest
from helpers.pictures import draw
from helpers.results import make_few, make_results

from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.reporting.image_figures import draw_image_curves, more_images_in_words
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook


def _compared(results):
    runs, problems = read_records(results)
    return compare(runs_table(runs), problems)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    make_few(folder, (1, 4, None))
    return folder, _compared(folder)


def test_the_sheet_images_is_there_where_runs_have_different_numbers_of_images(made, tmp_path):
    folder, compared = made
    assert "Images" in [sheet.name for sheet in all_sheets(compared, folder)]
    make_results(tmp_path)
    assert "Images" not in [sheet.name for sheet in all_sheets(_compared(tmp_path), tmp_path)]


def test_charts_of_the_workbook_have_a_curve_for_each_configuration(made, tmp_path):
    folder, compared = made
    assert write_workbook(tmp_path / "w.xlsx", all_sheets(compared, folder)) == []
    sheet = openpyxl.load_workbook(tmp_path / "w.xlsx")["Images"]
    assert len(sheet._charts) == 3
    series = sheet._charts[0].series
    assert [each.tx.v.partition(",")[0] for each in series] == ["Padim", "Patchcore"]
    columns = [
        [cell.value for (cell,) in sheet[place.split("!")[1].replace("$", "")]]
        for place in (series[0].xVal.numRef.f, series[0].yVal.numRef.f)
    ]
    padim = compared.images[compared.images["Model"] == "Padim"]
    assert columns == [[1, 4, 40], pytest.approx(padim["image_AUROC"].tolist())]


@pytest.mark.filterwarnings("error:constrained_layout")
def test_the_picture_shows_a_curve_for_each_configuration_with_its_intervals(made):
    _, compared = made
    figure = draw(draw_image_curves(compared.images))
    assert [axis.get_ylabel() for axis in figure.axes] == ["image_AUROC", "pixel_F1Score", "image_MissRate"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 4, 40]
    said = more_images_in_words(compared.images)
    assert len(said) == 2 and said[0].startswith(
        "tiles, Padim, ResNet18, 100 features: from 4 to 40 images image_AUROC"
    )


def test_the_picture_says_that_there_is_nothing_to_show(tmp_path):
    make_results(tmp_path)
    images = _compared(tmp_path).images
    assert draw_image_curves(images).axes[0].get_title().startswith("no configuration was run with several numbers")
    assert more_images_in_words(images) == []

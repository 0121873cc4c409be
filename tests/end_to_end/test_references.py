"""Boards of which each has a layout of its own: only beside their golden samples are their defects seen."""

import csv
import json

import numpy as np
import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.data import save
from helpers.serving_process import serve
from PIL import Image
from playwright.sync_api import expect

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.predict import main
from inference_code.runtimes import LoadOptions
from training_code.experiment import Experiment
from training_code.foundation.errors import run_command

SIZE, PART, PARTS = 96, 12, 3  # pixels of a board and of a part, and parts on a board
BOARDS = 8


def _layout(generator):
    """Return corner and pixels of the parts of a board, which are nowhere near each other; no two parts look alike."""
    corners: list[np.ndarray] = []
    while len(corners) < PARTS + 1:
        corner = generator.integers(8, SIZE - PART - 8, 2)
        if all(np.abs(corner - other).max() > 2.5 * PART for other in corners):
            corners.append(corner)
    return [(corner, np.kron(generator.integers(0, 255, (4, 4)), np.ones((3, 3)))) for corner in corners]


def _photograph(parts, generator):
    pixels = np.full((SIZE, SIZE), 120.0)
    for (top, left), part in parts:
        pixels[top : top + PART, left : left + PART] = part
    return np.clip(pixels + generator.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8)


def _boards(root):
    """Make good boards to train on and to test, and boards with a part too many or too few, with their references."""
    generator = np.random.default_rng(3)
    for place, count in (("train/good", 2 * BOARDS), ("test/good", BOARDS), ("test/wrong", BOARDS)):
        for index in range(count):
            parts = _layout(generator)
            own, other = (parts, parts[1:]) if index % 2 else (parts[1:], parts)
            name = f"{place.replace('/', '_')}_{index}.png"
            save(root / "reference" / name, _photograph(own, generator))
            if place == "test/wrong":
                mask = np.zeros((SIZE, SIZE), np.uint8)
                top, left = parts[0][0]
                mask[top : top + PART, left : left + PART] = 255
                save(root / "ground_truth" / "wrong" / name, mask)
            save(root / place / name, _photograph(other if place == "test/wrong" else own, generator))
    return root


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    return _boards(tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


CONFIGURATIONS = {
    "Patchcore": {"backbone": "efficientnet_lite0", "layers": ["blocks.1"], "coreset_sampling_ratio": 0.1},
    "Padim": {"backbone": "efficientnet_lite0", "layers": ["blocks.1"], "n_features": 16},
}

TINY = {"crop_size": 32, "stride": 24, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1}


@pytest.fixture(scope="module")
def run(boards, results):
    experiment = Experiment(boards, image_size=SIZE, results=results, tensorboard="off", alpha=0.06)
    return experiment.run("Patchcore", **CONFIGURATIONS["Patchcore"])


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_defects_that_no_detector_sees_alone_are_found_beside_references(boards, results, name, tmp_path):
    options = {"image_size": SIZE, "results": results, "tensorboard": "off", "alpha": 0.06}
    beside = Experiment(boards, **options).run(name, **CONFIGURATIONS[name])
    for part in ("train", "test", "ground_truth"):
        (tmp_path / "alone" / part).parent.mkdir(exist_ok=True)
        (tmp_path / "alone" / part).symlink_to(boards / part)
    alone = Experiment(tmp_path / "alone", **options).run(name, **CONFIGURATIONS[name])
    assert alone.metrics["image_AUROC"] < 0.75 and alone.metrics["pixel_F1Max"] < 0.3
    assert beside.metrics["image_AUROC"] == 1 and beside.metrics["image_Recall"] == 1
    assert beside.metrics["image_FalseAlarmRate"] <= 2 / BOARDS
    assert beside.metrics["pixel_F1Max"] > alone.metrics["pixel_F1Max"] + 0.3
    assert beside.record.dataset.references == 4 * BOARDS and alone.record.dataset.references == 0
    assert beside.record.calibration.moved == 0
    assert beside.record.validation["image_AUROC"] == 1


@pytest.mark.slow
def test_a_detector_that_holds_images_out_compares_these_with_their_references_too(boards, results):
    experiment = Experiment(boards, image_size=SIZE, results=results, tensorboard="off", validation_split=0.25)
    run = experiment.run("Autoencoder", **TINY)
    assert run.record.calibration.way == "hold out" and run.record.calibration.images == 4
    # What is left of good boards is noise; a part that was added or taken away is far above it.
    assert run.metrics["image_AUROC"] == 1 and run.record.validation["image_AUROC"] == 1
    assert run.metrics["image_Recall"] == 1


@pytest.mark.slow
def test_good_images_that_are_their_own_references_are_compared_with_themselves_moved(boards, results, tmp_path):
    for part in ("train", "test", "ground_truth"):
        (tmp_path / part).symlink_to(boards / part)
    for reference in (boards / "reference").glob("test_*"):
        save(tmp_path / "reference" / reference.name, np.asarray(Image.open(reference)))
    experiment = Experiment(tmp_path, image_size=SIZE, results=results, tensorboard="off")
    run = experiment.run("Patchcore", **CONFIGURATIONS["Patchcore"])
    assert run.record.calibration.moved == run.record.calibration.images == 2 * BOARDS
    assert "own reference" in {note.kind for note in run.record.dataset.notes}
    assert run.record.thresholds["image"] > 0 and run.metrics["image_FalseAlarmRate"] == 0


@pytest.mark.slow
def test_a_folder_is_predicted_as_in_the_evaluation_with_its_references(run, boards, results, tmp_path, capsys):
    arguments = [run.run_id, str(boards / "test"), "--results", str(results), "--output", str(tmp_path)]
    assert run_command(main, arguments) == 2
    assert "compares each image with its reference, and none is given" in capsys.readouterr().err
    assert run_command(main, [*arguments, "--reference", str(boards / "reference")]) == 0
    with open(run.folder / "scores.csv", newline="") as file:
        expected = {str(boards / row["path"]): row for row in csv.DictReader(file)}
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert {line["path"] for line in lines} == set(expected)
    for line in lines:
        assert line["score"] == pytest.approx(float(expected[line["path"]]["score"]), rel=1e-4)
        assert line["reference"] == str(boards / "reference" / line["path"].rsplit("/", 1)[1])


@pytest.mark.slow
def test_an_exported_file_says_that_it_needs_references_and_gives_the_same_scores(run, boards, results):
    file, _ = export_run(run.run_id, "openvino", results=results)
    assert json.loads((file.parent / f"{file.name}.json").read_text())["needs_reference"] is True
    images = sorted((boards / "test" / "wrong").iterdir())
    references = [boards / "reference" / image.name for image in images]
    predictors = load_predictor(run.folder), load_predictor(file, options=LoadOptions("openvino"))
    own, exported = (list(predictor.predict(images, references=references)) for predictor in predictors)
    np.testing.assert_allclose([each.score for each in exported], [each.score for each in own], rtol=1e-3)
    assert all(each.abnormal for each in exported)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_the_page_compares_an_image_with_its_own_reference_and_never_with_that_of_an_example(run, boards):
    image = boards / "test" / "wrong" / "test_wrong_1.png"
    reference = boards / "reference" / image.name
    (expected,) = load_predictor(run.folder).predict([image], references=[reference])
    with serve(run.folder) as (_, address), open_page(address) as (page, _):
        page.locator("#examples button", has_text="good").first.click()
        page.wait_for_selector("#result:visible")
        expect(page.locator("#reference-name")).to_have_text("that of the example")
        page.set_input_files("#file", image)
        expect(page.locator("#message")).to_contain_text("compares an image with its reference: choose that, too")
        expect(page.locator("#result")).to_be_hidden()
        page.set_input_files("#reference", reference)
        expect(page.locator("#verdict")).to_contain_text(f"Abnormal: score {expected.score:.4g};")
        expect(page.locator("#reference-name")).to_have_text(image.name)

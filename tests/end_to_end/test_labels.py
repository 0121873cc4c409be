"""Labelled defects choose and train, and nothing of them is found in any figure of the test set."""

import csv
import json
import shutil

import pytest
from helpers.data import add_validation, make_mvtec
from helpers.small_runs import CONFIGURATIONS, run_small

from training_code.detectors.registry import get_detector
from training_code.experiment import Experiment
from training_code.records.record import RECORD, SCORES

MARK = "marked-for-validation"
#: What of a record is about the images that are tested on.
TESTED = ("metrics", "intervals", "by_defect_type", "by_area", "at", "rules", "thresholds")


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A dataset whose labelled images are of a type of their own, and have it in their names."""
    root = add_validation(make_mvtec(tmp_path_factory.mktemp("marked") / "parts"), defective=3)
    for below in ("validation", "validation/ground_truth"):
        for kind in ("square", "bar"):
            for path in sorted((root / below / kind).iterdir()):
                (root / below / MARK).mkdir(exist_ok=True)
                path.rename(root / below / MARK / f"{MARK}-{path.name}")
            shutil.rmtree(root / below / kind)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("threshold", ["auto", "labelled"])
def test_a_mark_in_every_labelled_image_is_in_no_figure_of_the_test_set(marked, tmp_path_factory, threshold):
    folder = tmp_path_factory.mktemp("results")
    experiment = Experiment(marked, image_size=64, tensorboard="off", results=folder, threshold=threshold)
    for name, (detector, _) in CONFIGURATIONS.items():
        run = run_small(experiment, name)
        record = json.loads((run.folder / RECORD).read_text())
        assert record["dataset"]["counts"][f"validation/{MARK}"] == 6, "they are there"
        assert "labelled_image_AUROC" in record["validation"], f"{name} looks at them"
        for what in TESTED:
            assert MARK not in json.dumps(record[what]), f"{name}: {what}"
        with open(run.folder / SCORES, newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 14 and not any(MARK in "".join(row.values()) for row in rows), name
        assert not any(MARK in path.name for path in (run.folder / "examples").iterdir()), name
        spec = get_detector(detector)
        learns = spec.learns_from_labels(run.record.arguments)
        held_out = 0 if spec.leaves_out(run.record.arguments) else 1
        assert run.record.labels == (6 - held_out if learns else 0), name
        unseen = 6 - held_out if learns and not held_out else 1 if learns else 6
        assert run.record.labels_for_thresholds == (unseen if learns or threshold == "labelled" else 0), name


@pytest.mark.slow
def test_other_images_for_testing_change_neither_thresholds_nor_what_was_learned(tmp_path):
    """What is trained and chosen on labels does not know the test set: with other test images it is the same."""
    scores = []
    for number, defective in enumerate((2, 5)):
        root = add_validation(make_mvtec(tmp_path / f"{number}" / "parts", train=8, defective=defective, seed=2))
        experiment = Experiment(root, image_size=64, tensorboard="off", results=tmp_path / f"{number}")
        detector, arguments = CONFIGURATIONS["FeatureSegmenter"]
        record = experiment.run(detector, **arguments).record
        scores.append((record.thresholds, record.validation))
    assert scores[0] == scores[1]

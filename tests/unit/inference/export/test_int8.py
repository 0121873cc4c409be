"""A file of 8-bit integers is asked for in valid words, and goes by its own scores of good images."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from helpers.calibrated import make_calibrated

from inference_code.export.__main__ import main
from inference_code.export.formats import check_request
from inference_code.export.int8.loss import on_unseen
from inference_code.graph_predictor import GraphPredictor
from inference_code.loading import load_predictor
from inference_code.runs import refuse_taught
from inference_code.runtimes import LoadOptions
from inference_code.thresholds import choose_thresholds
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError, run_command
from training_code.records.operating_points import points_anew
from training_code.records.reading import write_record
from training_code.records.scores import CalibrationScores
from training_code.records.taught import Taught, TaughtImage
from training_code.training.recomputing import Recomputed

GIVEN = {"groups": [0, 0, 1], "scores": [0.1, 0.2, 0.9], "area_scores": [0.1, 0.1, 0.8], "highest": [0.2, 0.3, 1.0]}


def _file(folder, **description):
    """Return a file without a graph: what its description says."""
    made = GraphPredictor.__new__(GraphPredictor)
    made.folder, made.description, made.thresholds = folder, description, Thresholds(1.0, 1.0)
    return made


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--precision", "int4"], "unknown precision 'int4'"),
        (["--format", "anomalib", "--precision", "int8"], "anomalib's checkpoints hold no 8-bit integers; valid"),
        (["--precision", "int8", "--tolerance", "-1"], "tolerance=-1.0 is out of range"),
        (["--images", "photographs"], "--images gives photographs for --precision int8"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence_before_any_computation(given, words, capsys):
    assert run_command(main, ["best", "--format", "onnx", *given]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_missing_nncf_is_named_with_its_extra(monkeypatch, capsys):
    def version(name):
        if name == "nncf":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("inference_code.export.formats.version", version)
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ['nncf; extra == "int8"', 'onnx; extra == "export"'])
    assert run_command(main, ["best", "--format", "onnx", "--precision", "int8"], "export") == 2
    assert '[int8]"' in capsys.readouterr().err
    assert check_request("onnx", 0.1) == {"torch": "1", "onnx": "1"}, "float32 goes without it"


def test_p_values_of_a_file_go_by_its_own_scores(tmp_path):
    folder = tmp_path / "runs" / make_calibrated(tmp_path).run_id
    own = _file(folder, precision="int8", calibration=GIVEN).calibration()
    assert own.groups == (0, 0, 1) and own.scores.tolist() == [0.1, 0.2, 0.9]
    assert _file(folder).calibration().scores.tolist() == list(range(1, 20)), "a file of float32 has those of its run"


@pytest.mark.parametrize(
    "damage",
    [
        None,
        {},
        GIVEN | {"scores": [0.1]},
        GIVEN | {"scores": ["x", 1, 2]},
        GIVEN | {"area_scores": [0.1, 0.1]},
        GIVEN | {"highest": [[0.2, 0.3, 1.0]]},
        GIVEN | {"highest": [0.2, 0.3, float("inf")]},
        dict.fromkeys(GIVEN, []),
    ],
)
def test_a_damaged_description_gives_no_p_values(tmp_path, damage):
    with pytest.raises(ValueError, match="the description beside the file is damaged"):
        _file(tmp_path, precision="int8", calibration=damage).calibration()


@pytest.mark.parametrize("within", ["", "taught"], ids=["the run", "its taught detector"])
def test_a_taught_run_is_refused_before_any_computation(tmp_path, capsys, within):
    record = make_calibrated(tmp_path)
    folder = tmp_path / "runs" / record.run_id
    image = TaughtImage("a" * 64, "a.png", "/photographs/a.png", "a", "2026-11-26T12:00:00+00:00")
    (folder / "taught").mkdir()
    write_record(folder / "taught", replace(record, taught=Taught((image, image), 1, None, (1.0, 2.0), ())))
    words = f"{record.run_id} was taught 2 photographs, and files of 8-bit integers are made of runs as they were "
    words += f"trained; valid: float32, or anomaly teach {record.run_id} --undo before"
    with pytest.raises(InputError) as refused:
        refuse_taught(folder / within)
    assert str(refused.value) == words
    with pytest.raises(InputError) as refused:  # what advised an export of it
        load_predictor(folder / within, tmp_path, options=LoadOptions("onnx", precision="int8"))
    assert str(refused.value) == words
    (folder / "taught" / "run.json").unlink()
    refuse_taught(folder)


def test_few_images_with_anomalies_are_not_outweighed_by_many_good_ones():
    good = np.arange(1.0, 101.0)
    area = good.astype(np.float32)
    judged = Recomputed(tuple(range(100)), good, good, area, area, np.array([200.0, 300.0]), np.array([200.0, 3.5]))
    lost = on_unseen(judged, 101.0, 101.0)
    # One of two defects is not found any more; of 200 pairs with a good image 97 are ordered otherwise.
    assert (lost.good, lost.altered, lost.most) == (0, 0.5, 0.5)
    assert (lost.float32_auroc, lost.auroc) == (1, pytest.approx(1 - 97 / 200))


def test_a_file_that_has_gone_blind_is_told_where_no_score_reaches_the_threshold():
    good, area = np.arange(1.0, 11.0), np.arange(1.0, 11.0, dtype=np.float32)
    defects, blind = np.arange(5.5, 15.0), np.arange(1.0, 11.0)
    lost = on_unseen(Recomputed(tuple(range(10)), good, good, area, area, defects, blind), 99.0, 99.0)
    assert (lost.good, lost.altered) == (0, 0)
    pairs = (defects[:, None] > good).mean()
    assert lost.auroc == pytest.approx(0.5) and lost.most == pytest.approx(pairs - 0.5)


def test_a_quantile_of_the_scores_of_the_run_is_no_threshold_for_other_scores(tmp_path):
    with pytest.raises(InputError, match="a file of 8-bit integers has other ones; valid: a raw score"):
        choose_thresholds(_file(tmp_path, precision="int8"), "99%", None)


def test_the_rule_of_the_run_is_applied_to_the_scores_of_the_file(tmp_path):
    record = make_calibrated(tmp_path, alpha=0.05)
    # The same good images, every score higher by 100, as those of a file might be.
    scores = np.arange(101.0, 120.0)
    good = CalibrationScores(tuple(range(19)), scores, scores.astype(np.float32), scores.astype(np.float32))
    found = points_anew(record, good)
    # Of 20 images a new one is the highest with a probability of 1/20: the threshold lies just above 119.
    assert 119 < found.image.threshold < 119.01 and found.image.promise == 0.05
    assert record.at.image.threshold < 19.01


def test_a_rule_that_goes_by_other_things_keeps_its_thresholds_and_promises_nothing(tmp_path):
    record = make_calibrated(tmp_path, threshold="synthetic")
    good = CalibrationScores((0, 1), np.ones(2), np.ones(2, np.float32), np.ones(2, np.float32))
    found = points_anew(record, good)
    assert found.image == record.at.image and found.image.promise is None

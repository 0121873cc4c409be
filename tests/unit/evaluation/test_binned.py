"""What is found for maps in a file is what is found for them in memory, within the errors that are told."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from training_code.data.boxes import TypedRegions
from training_code.evaluation import binned
from training_code.evaluation.binned import Bins, mean_and_deviation, quantile, rank_binned
from training_code.evaluation.calibration import Calibration, held_out
from training_code.evaluation.decisions import aupimo
from training_code.evaluation.metrics import decide, rank_by_area, rank_by_defect_type, rank_predictions
from training_code.evaluation.objectives import validation_metrics
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.ranking import rank
from training_code.evaluation.regions import region_shares, region_weights
from training_code.evaluation.thresholds import find_points
from training_code.experiment import Experiment
from training_code.foundation import stacks
from training_code.foundation.memory import allowing
from training_code.foundation.stacks import stacked
from training_code.records.reading import read_record
from training_code.records.record import CALIBRATION, SCORES

SHAPE = (16, 24, 20)
#: Maps by how their values are spread.
SPREAD = {
    "normal": lambda draw: draw.normal(size=SHAPE),
    "ties": lambda draw: draw.normal(size=SHAPE).round(1),
    "constant": lambda draw: np.full(SHAPE, 0.25),
    "two values": lambda draw: draw.integers(0, 2, SHAPE) - 1.0,
    "heavy tails": lambda draw: draw.standard_cauchy(SHAPE) ** 3,
    "far from 0 and close together": lambda draw: 1e6 + draw.normal(size=SHAPE),
    "tiny": lambda draw: 1e-42 * draw.normal(size=SHAPE),
    "0 and -0": lambda draw: np.copysign(0.0, draw.normal(size=SHAPE)),
}


def _masks():
    masks = np.zeros(SHAPE, bool)
    masks[8:, 4:9, 4:9] = masks[12:, 15:18, 3:12] = True
    return masks


@pytest.fixture(params=SPREAD, ids=str)
def maps(request):
    draw = np.random.default_rng(3)
    spread = SPREAD[request.param](draw)
    shift = 0 if request.param in ("constant", "0 and -0") else np.median(np.abs(spread - np.median(spread)))
    return (spread + shift * _masks()).astype(np.float32)


@pytest.fixture
def in_file(tmp_path):
    """Puts arrays into files, whatever their size."""

    def put(*arrays):
        with allowing(1, tmp_path):
            return [stacked(len(array), array) for array in arrays]

    return put


def _areas(ranking):
    return {
        "AUROC": ranking.auroc,
        "AUPR": ranking.aupr,
        "AUPRO": ranking.aupro,
        "F1Max": float(ranking.f1.max()),
    }


@pytest.mark.parametrize("bins", [1, 64, 2**17])
def test_areas_lie_within_their_errors_however_coarse_the_bins_are(maps, in_file, monkeypatch, bins):
    monkeypatch.setattr(binned, "BINS", bins)
    exact = _areas(rank(maps, _masks(), region_weights(_masks())))
    found = rank_binned(*in_file(maps, _masks()), region_shares)
    exact["AUROC"] = roc_auc_score(_masks().ravel(), maps.ravel())
    exact["AUPR"] = average_precision_score(_masks().ravel(), maps.ravel())
    assert found.errors.keys() == exact.keys()
    for name, value in _areas(found).items():
        assert abs(value - exact[name]) <= found.errors[name] + 1e-9, name


def test_errors_are_small_and_those_of_few_bins_are_not(in_file, monkeypatch):
    maps = np.random.default_rng(0).normal(_masks(), 1).astype(np.float32)
    fine = rank_binned(*in_file(maps, _masks()), region_shares).errors
    monkeypatch.setattr(binned, "BINS", 1)
    coarse = rank_binned(*in_file(maps, _masks()), region_shares).errors
    assert fine.keys() == coarse.keys() and all(100 * fine[name] < coarse[name] for name in fine)


def test_equal_values_are_never_parted_and_their_areas_are_exact(in_file):
    maps = np.random.default_rng(0).integers(0, 50, SHAPE).astype(np.float32)
    found = rank_binned(*in_file(maps, _masks()), region_shares)
    assert set(found.errors.values()) == {0.0}
    assert _areas(found) == pytest.approx(_areas(rank(maps, _masks(), region_weights(_masks()))), abs=1e-12)


def test_bins_are_as_fine_for_few_abnormal_pixels_as_for_many_good_ones():
    counts = np.zeros((2, 2**16), np.int64)
    counts[0, 10], counts[1, 20] = 10**9, 5
    assert len(Bins(counts)) == 2 * 2**16


@pytest.mark.parametrize("part", [0, 0.05, 0.5, 1 - 0.05, 0.999, 1])
def test_quantiles_are_exactly_those_of_numpy(maps, in_file, part):
    stored, masks = in_file(maps, _masks())
    assert quantile(stored, part) == float(np.quantile(maps, part))
    assert quantile(stored, part, masks) == float(np.quantile(maps[_masks()], part))


def test_mean_and_deviation_are_those_of_numpy(maps, in_file, monkeypatch):
    monkeypatch.setattr(stacks, "CHUNK", maps[0].nbytes * 3)
    expected = maps.mean(dtype=np.float64), maps.std(dtype=np.float64)
    assert mean_and_deviation(*in_file(maps)) == pytest.approx(expected, rel=1e-9)


def _predictions(maps, masks):
    labels = masks.any((1, 2))
    types = np.where(labels, np.array(["hole", "scratch"])[np.arange(len(maps)) % 2], "good")
    scores = maps.max((1, 2)).astype(float)
    return Predictions(tuple(Path(f"{n}.png") for n in range(len(maps))), tuple(types), scores, labels, maps, masks)


def _findings(test, good, judged, labelled):
    calibration = Calibration("hold out", good, tuple(range(len(good))), judged, judged, labelled)
    metrics, oracle = rank_predictions(test)
    points = find_points(calibration, oracle, 0.1, 0.05, rank_predictions(calibration.with_labels)[1])
    codes = stacked(
        len(test), (np.where(mask, 1 + (index % 2), 0).astype(np.uint8) for index, mask in enumerate(_masks()))
    )
    return {
        "ranked": metrics,
        "points": {name: dataclasses.asdict(found) for name, found in points.items()},
        "decided": {name: decide(test, found.thresholds).metrics for name, found in points.items()},
        "by type": rank_by_defect_type(test, TypedRegions(("deep", "flat"), codes)),
        "by area": rank_by_area(test),
        "validation": validation_metrics(calibration, {}, points["conformal"].thresholds),
    }


def _compared(found, exact):
    """Compare all numbers, those with an error beside them within it."""
    assert {name for name in found if not name.endswith("_error")} == set(exact)
    for name, value in exact.items():
        if isinstance(value, dict):
            _compared(found[name], value)
        elif value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-6, abs=found.get(f"{name}_error", 0) + 1e-9), name


def test_all_that_follows_from_maps_in_files_is_what_follows_from_maps_in_memory(maps, tmp_path):
    everything = _predictions(maps, _masks())
    good = held_out(everything, range(8)).good
    labelled = everything.of_type("hole")
    exact = _findings(everything, good, everything, labelled)
    with allowing(1, tmp_path):
        stored = dataclasses.replace(everything, maps=stacked(16, maps), masks=stacked(16, _masks()))
        found = _findings(stored, held_out(stored, range(8)).good, stored, stored.of_type("hole"))
    _compared(found, exact)
    assert "pixel_AUROC_error" in found["ranked"] and "pixel_AUROC_error" in found["by type"]["hole"]
    assert not [name for name in exact["ranked"] if name.endswith("_error")], "exact metrics have no error"


def test_aupimo_is_the_same_to_the_bit(in_file):
    draw = np.random.default_rng(0)
    masks = np.zeros((12, 256, 256), bool)
    masks[8:, 20:40, 30:60] = True
    maps = draw.normal(masks * 4.0, 1).astype(np.float32)
    assert aupimo(*in_file(maps, masks), masks.any((1, 2))) == aupimo(maps, masks, masks.any((1, 2))) > 0


_UNDER_A_LIMIT = """
import resource, sys
import numpy as np
LIMIT = {limit}
resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
from pathlib import Path
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.metrics import decide, rank_by_defect_type, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import find_points
from training_code.foundation.memory import allowing
from training_code.foundation.stacks import Stack, stacked

SIDE = 512
COUNT = 3 * LIMIT // (4 * SIDE * SIDE)
noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
mask = np.zeros((SIDE, SIDE), bool)
mask[100:140, 200:260] = True
labels = np.arange(COUNT) % 2 == 1
with allowing(LIMIT // 2, Path(sys.argv[1])):
    maps = stacked(COUNT, (np.roll(noise, number) + np.float32(2) * (mask & labels[number]) for number in range(COUNT)))
    masks = stacked(COUNT, (mask & labels[number] for number in range(COUNT)))
    assert isinstance(maps, Stack)
    types = tuple("hole" if label else "good" for label in labels)
    scores = np.array([each.max() for each in maps], float)
    test = Predictions(tuple(map(str, range(COUNT))), types, scores, labels, maps, masks)
    good = test.of_type("good")
    metrics, oracle = rank_predictions(test)
    points = find_points(Calibration("hold out", good, tuple(range(len(good))), judged=test), oracle, 0.1, 0.05)
    decide(test, points["conformal"].thresholds)
    rank_by_defect_type(test)
print(repr(float(metrics["pixel_AUROC"])), repr(float(metrics["pixel_AUROC_error"])))
"""


@pytest.mark.slow
def test_a_run_whose_maps_lie_in_files_has_the_numbers_of_one_whose_maps_do_not(tiny_dataset, tmp_path, monkeypatch):
    folders = []
    for part in (stacks.PART, 0):
        monkeypatch.setattr(stacks, "PART", part)
        experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path / f"part {part:g}")
        arguments = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "n_features": 10}
        folders.append(experiment.run("Padim", varied_anomalies=True, **arguments).folder)
    exact, found = map(read_record, folders)
    assert "pixel_AUROC_error" in found.metrics and "pixel_AUROC_error" not in exact.metrics
    for name in ("metrics", "by_defect_type", "validation"):
        _compared(getattr(found, name), getattr(exact, name))
    assert found.thresholds == exact.thresholds, "quantiles are exact"
    for name in (CALIBRATION, SCORES):
        assert (folders[0] / name).read_text() == (folders[1] / name).read_text()


@pytest.mark.slow
def test_maps_three_times_larger_than_the_memory_there_may_be_are_evaluated(tmp_path):
    """A normal value of mean 2 is above one of mean 0 with a probability of Φ(√2)."""
    code = _UNDER_A_LIMIT.format(limit=224 * 2**20)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each has memory of its own
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=one_thread)
    assert done.returncode == 0, done.stderr
    area, error = map(float, done.stdout.split())
    assert area == pytest.approx(0.92135, abs=0.01) and error < 1e-4

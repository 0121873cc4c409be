"""What is not looked at counts nowhere: numbers are those of maps that end where it begins."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.data import save

from training_code.data.geometry import OUTSIDE, Geometry, inside
from training_code.data.layout import Sample
from training_code.data.sample_data import SampleDataset
from training_code.display import examples
from training_code.evaluation.calibration import Calibration, area_scores
from training_code.evaluation.collector import PredictionCollector
from training_code.evaluation.combining import combine, scored_by_maps
from training_code.evaluation.metrics import decide, rank_by_area, rank_by_defect_type, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.references import difference
from training_code.evaluation.thresholds import Points, Thresholds, find_points
from training_code.foundation import stacks
from training_code.foundation.memory import allowing
from training_code.foundation.stacks import Stack, stacked

GOOD, DEFECTIVE, HEIGHT, WIDTH = 12, 8, 200, 160
LEFT = 20  # columns that are not looked at
SHAPES = {"wide": (32, 64), "high": (64, 32)}


@pytest.fixture(params=["memory", "files"], autouse=True)
def where(request, tmp_path, monkeypatch):
    """Where maps and masks lie; in files they are read one by one."""
    if request.param == "memory":
        yield request.param
        return
    monkeypatch.setattr(stacks, "CHUNK", 1)
    with allowing(1, tmp_path):
        yield request.param


def _stored(found: Predictions) -> Predictions:
    """Return the same with maps and masks that lie where the fixture says."""
    masks = None if found.masks is None else stacked(len(found), found.masks)
    return replace(found, maps=stacked(len(found), found.maps), masks=masks)


def _cropped() -> Predictions:
    generator = np.random.default_rng(0)
    maps = generator.random((GOOD + DEFECTIVE, HEIGHT, WIDTH), np.float32)
    masks = np.zeros(maps.shape, bool)
    for index in range(GOOD, GOOD + DEFECTIVE):
        side = 3 * (index - GOOD + 1)
        masks[index, 10 : 10 + side, 5 : 5 + side] = True
    maps[masks] += 0.4
    names = ("good",) * GOOD + ("hole", "dent") * (DEFECTIVE // 2)
    paths = tuple(Path(f"{index}") for index in range(len(maps)))
    scores = maps.max((1, 2)).astype(np.float64)
    return _stored(Predictions(paths, names, scores, np.arange(len(maps)) >= GOOD, maps, masks))


def _with_outside(found: Predictions) -> Predictions:
    """Return the same with columns that are not looked at."""
    masks = None if found.masks is None else np.pad(np.asarray(found.masks), ((0, 0), (0, 0), (LEFT, 0)))
    maps = np.pad(np.asarray(found.maps), ((0, 0), (0, 0), (LEFT, 0)), constant_values=OUTSIDE)
    return _stored(replace(found, maps=maps, masks=masks))


def _calibration(found: Predictions) -> Calibration:
    good = Predictions(found.paths[:GOOD], found.defect_types[:GOOD], found.scores[:GOOD], found.labels[:GOOD],
                       found.maps[:GOOD])  # fmt: skip
    return Calibration("hold out", good, tuple(range(GOOD)), found)


def test_metrics_are_those_of_what_is_looked_at(where):
    cropped = _cropped()
    padded = _with_outside(cropped)
    assert isinstance(padded.maps, Stack) == isinstance(padded.masks, Stack) == (where == "files")
    thresholds = Thresholds(1.1, 0.9)
    expected, point = rank_predictions(cropped)
    assert {"pixel_AUROC", "pixel_AUPR", "pixel_AUPRO", "pixel_F1Max", "pixel_AUPIMO"} <= set(expected)
    found, found_point = rank_predictions(padded)
    assert found == pytest.approx(expected, abs=1e-12) and found_point == point
    assert decide(padded, thresholds) == decide(cropped, thresholds)
    assert rank_by_defect_type(padded) == rank_by_defect_type(cropped)
    assert rank_by_area(padded) == rank_by_area(cropped)
    assert np.array_equal(padded.areas, cropped.areas) and padded.finite


def test_thresholds_of_all_rules_are_those_of_what_is_looked_at():
    cropped = _cropped()
    both = [_calibration(found) for found in (cropped, _with_outside(cropped))]
    first, second = (find_points(each, Points(), 0.1, 0.05) for each in both)
    assert first == second and first["mean_sd"].pixel is not None and first["synthetic"].pixel is not None
    assert both[0].visible == both[1].visible and both[0].visible > 0
    assert np.array_equal(area_scores(both[0].good.maps, 0.05), area_scores(both[1].good.maps, 0.05))


def test_a_difference_is_seen_where_image_and_reference_are_looked_at():
    first = np.array([[5, OUTSIDE, 1, OUTSIDE]], np.float32)
    second = np.array([[2, 7, OUTSIDE, OUTSIDE]], np.float32)
    assert difference(first, second).tolist() == [[3.0, OUTSIDE, OUTSIDE, OUTSIDE]]
    assert inside(difference(first, second)).tolist() == [3.0]


@pytest.mark.parametrize("how", ["mean", "maximum"])
def test_what_several_detectors_say_together_is_that_of_what_is_looked_at(how):
    cropped = _cropped()
    padded = _with_outside(cropped)
    (scales, expected), (own_scales, found) = (
        combine([_calibration(each), _calibration(replace(each, scores=2 * each.scores))], how, ["judged"])
        for each in (cropped, padded)
    )
    assert own_scales == scales
    for name in ("good", "judged"):
        one, other = getattr(expected, name), getattr(found, name)
        maps = np.asarray(other.maps)
        assert (maps[:, :, :LEFT] == OUTSIDE).all() and np.array_equal(maps[:, :, LEFT:], np.asarray(one.maps))
        highest = getattr(scored_by_maps(found), name).scores
        assert np.array_equal(highest, np.asarray(one.maps).max((1, 2)).astype(np.float64))


def test_the_colors_of_examples_are_those_of_what_is_looked_at(tmp_path, monkeypatch):
    cropped, drawn = _cropped(), []
    monkeypatch.setattr(examples, "_draw_example", lambda found, index, kind, ends, geometry: drawn.append(ends))
    monkeypatch.setattr(examples, "save_picture", lambda picture, path: None)
    monkeypatch.setattr(examples, "in_rows", lambda rows: None)
    for each in (cropped, _with_outside(cropped)):
        examples.write_examples(each, Thresholds(1.1, None), tmp_path)
    values = np.asarray(cropped.maps)
    assert len(drawn) > 2 and set(drawn) == {(float(np.median(values)), float(values.max()))}


def test_what_detectors_say_of_filled_places_is_left_out_before_it_is_kept(tmp_path, where):
    wide, high = (save(tmp_path / f"{name}.png", np.zeros(shape, np.uint8)) for name, shape in SHAPES.items())
    samples = [Sample(path, "test", "good") for path in (wide, high)]
    data = SampleDataset(samples, Geometry((32, 32), "letterbox"), with_masks=False)
    maps = torch.arange(2 * 32 * 32, dtype=torch.float32).reshape(2, 1, 32, 32)
    batch = SimpleNamespace(
        image_path=data.paths, pred_score=torch.tensor([9999.0, 9999.0]), gt_label=torch.zeros(2), gt_mask=None,
        anomaly_map=maps.clone(),
    )  # fmt: skip
    collector = PredictionCollector()
    collector.expect(2, data.leave_out)
    collector.on_predict_batch_end(None, None, batch, None, 0)
    found = collector.take(data.defect_types)
    assert isinstance(found.maps, Stack) == (where == "files")
    first, second = found.maps
    assert (first[:8] == OUTSIDE).all() and (first[24:] == OUTSIDE).all(), "above and below a wide photograph"
    assert (second[:, :8] == OUTSIDE).all() and (second[:, 24:] == OUTSIDE).all(), "left and right of a high one"
    assert np.array_equal(first[8:24], maps[0, 0, 8:24]) and np.array_equal(second[:, 8:24], maps[1, 0, :, 8:24])
    assert found.scores.tolist() == [24 * 32 - 1, 32 * 32 + 31 * 32 + 23], "the highest values that are left"

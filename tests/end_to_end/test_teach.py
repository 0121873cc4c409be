"""Good photographs that were refused are taught: others like them pass, the run stays, and all of it can be undone."""

import json
import shutil

import numpy as np
import pytest
from helpers.corrections import file_part, make_ledger
from helpers.data import save, texture
from helpers.small_runs import CONFIGURATIONS, run_small
from PIL import Image

from inference_code import teach as command
from inference_code.export import __main__ as export
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from inference_code.station import __main__ as station
from training_code import rethreshold
from training_code.comparison.table import runs_table
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.files import sha256
from training_code.records.reading import read_record, read_records
from training_code.records.scores import read_calibration, read_scores

pytestmark = pytest.mark.slow


def _tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _stained(images, folder):
    """Write good images with a white label in a corner, which no training image has; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        pixels = np.asarray(Image.open(path)).copy()
        pixels[:12, :12] = 255
        Image.fromarray(pixels).save(folder / path.name)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_dataset):
    """Runs of two detectors that can be taught, and of one that cannot."""
    results = tmp_path_factory.mktemp("results")
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=results)
    return results, {name: run_small(experiment, name).run_id for name in ("Padim", "Patchcore", "Autoencoder")}


@pytest.fixture
def results(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="module")
def stained(tmp_path_factory, tiny_dataset):
    """Good images with a label: six to teach, six others like them."""
    images = sorted((tiny_dataset / "train" / "good").iterdir())
    folder = tmp_path_factory.mktemp("stained")
    _stained(images[:6], folder / "taught")
    _stained(images[6:], folder / "others")
    return folder


def _teach(results, *arguments):
    return run_command(command.main, [*map(str, arguments), "--results", str(results)])


@pytest.mark.parametrize("name", ["Padim", "Patchcore"])
def test_others_like_the_taught_ones_pass_and_defects_are_still_found(trained, results, stained, name, capsys):
    run_id = trained[1][name]
    folder = results / "runs" / run_id
    (folder / "exports").mkdir()  # with nothing in it
    before = _tree(folder)
    others = sorted((stained / "others").iterdir())
    refused = [each.abnormal for each in load_predictor(run_id, results).predict(others)]
    assert all(refused), "the label is no false alarm: the test shows nothing"
    weight = ["--weight", "2"] if name == "Padim" else []
    assert _teach(results, run_id, stained / "taught", *weight) == 0
    said = capsys.readouterr().out
    assert "6 photographs are taught, 6 of which were refused" in said
    assert "without the photographs of its own part (each file counts as one)" in said and "exports" not in said
    predictor = load_predictor(run_id, results)
    assert sum(bool(each.abnormal) for each in predictor.predict(others)) <= 3
    record = predictor.record
    (report,) = record.taught.reports
    assert report.misses[1] <= report.misses[0] + 1 and report.defective == 8
    assert record.taught is not None and record.run_id == run_id
    assert {image.sha256 for image in record.taught.images} == {sha256(path) for path in (stained / "taught").iterdir()}
    assert (record.taught.patches is None) == (name == "Padim")
    stored = {"run.json", "model.ckpt", "scores.csv", "calibration.csv", "appearance.csv", "examples", "images"}
    assert {path.name for path in (folder / "taught").iterdir()} == stored
    # The run is that of its configuration still, and the workbook reads nothing else.
    assert {path: (folder / path).read_bytes() for path in before} == before
    assert list(runs_table(read_records(results)[0]).query("run_id == @run_id")["image_AUROC"]) == [
        read_record(folder).metrics["image_AUROC"]
    ]
    # No threshold rests on what was taught.
    assert len(read_calibration(folder / "taught").scores) == len(read_calibration(folder).scores) == 12
    assert record.calibration.images == 12 and "12 good images allow no promise below 7.7 %" in said
    scores = read_scores(folder / "taught")
    assert list(scores.called) == list(scores.scores >= record.thresholds["image"])
    assert _teach(results, run_id, "--undo") == 0
    assert _tree(folder) == before
    assert _teach(results, run_id, "--undo") == 2
    assert "was taught nothing" in capsys.readouterr().err


def test_lessons_in_any_order_come_to_the_same(trained, results, stained, tmp_path):
    run_id = trained[1]["Patchcore"]
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, images in ((first, slice(0, 3)), (second, slice(3, 6))):
        folder.mkdir()
        for path in sorted((stained / "taught").iterdir())[images]:
            shutil.copy(path, folder)
    assert _teach(results, run_id, stained / "taught") == 0
    folder = results / "runs" / run_id / "taught"
    at_once = read_scores(folder).scores
    assert _teach(results, run_id, "--undo") == 0
    assert _teach(results, run_id, first) == 0 and _teach(results, run_id, second, first) == 0
    assert len(read_record(folder).taught.images) == 6
    np.testing.assert_allclose(read_scores(folder).scores, at_once, rtol=1e-5)


def test_a_later_lesson_keeps_the_weight_of_before_and_another_one_is_refused(trained, results, stained, capsys):
    run_id, images = trained[1]["Padim"], sorted((stained / "taught").iterdir())
    folder = results / "runs" / run_id / "taught"
    assert _teach(results, run_id, images[0], "--weight", 2) == 0
    assert _teach(results, run_id, images[1]) == 0
    assert read_record(folder).taught.weight == 2 and len(read_record(folder).taught.images) == 2
    assert _teach(results, run_id, images[2], "--weight", 3) == 2
    said = capsys.readouterr().err
    assert "weight=3 is not that of" in said and "valid: 2, or any after" in said
    assert len(read_record(folder).taught.images) == 2
    assert _teach(results, run_id, "--undo") == 0 and _teach(results, run_id, images[2], "--weight", 3) == 0
    assert read_record(folder).taught.weight == 3


def test_test_images_that_show_what_is_taught_do_not_flatter(trained, results, stained, tiny_dataset, tmp_path, capsys):
    run_id = trained[1]["Padim"]
    tested = sorted((tiny_dataset / "test" / "good").iterdir())
    given = tmp_path / "given"
    given.mkdir()
    shutil.copy(tested[0], given / "same.png")
    brighter = np.asarray(Image.open(tested[1])).astype(float) * 1.1
    Image.fromarray(brighter.clip(0, 255).astype(np.uint8)).save(given / "brighter.png")
    check = tmp_path / "check"
    shutil.copytree(tiny_dataset, check)
    assert _teach(results, run_id, given, "--check", check) == 0
    reports = read_record(results / "runs" / run_id / "taught").taught.reports
    assert [(each.good, each.defective, each.left_out) for each in reports] == [(4, 8, 2), (4, 8, 2)]
    assert reports[0].false_alarms == reports[1].false_alarms and reports[0].misses == reports[1].misses
    assert "2 images that show what was taught are left out" in capsys.readouterr().out
    assert len(read_scores(results / "runs" / run_id / "taught").paths) == 12


def _brighter(image, target):
    """Write a copy of an image in another light, and return its path."""
    pixels = np.asarray(Image.open(image)).astype(float) * 1.1
    return save(target, pixels.clip(0, 255).astype(np.uint8))


def _calibrated(folder):
    """Return the scores that the thresholds of a run rest on, by the names of the images."""
    found = read_calibration(folder)
    return dict(zip(found.paths, found.scores.tolist(), strict=True))


def test_no_threshold_rests_on_what_was_taught_or_on_what_shows_it(tmp_path, tiny_dataset):
    data, results = tmp_path / "data", tmp_path / "results"
    shutil.copytree(tiny_dataset, data)
    generator = np.random.default_rng(9)
    beside = [save(data / "validation" / "good" / f"{number}.png", texture(generator)) for number in range(3)]
    experiment = Experiment(data, image_size=64, tensorboard="off", results=results)
    run_id = run_small(experiment, "Padim").run_id
    folder = results / "runs" / run_id
    before = _calibrated(folder)
    assert len(before) == 15
    copy = _brighter(data / "train" / "good" / "000.png", tmp_path / "copy.png")
    assert _teach(results, run_id, copy) == 0
    after = _calibrated(folder / "taught")
    # The image and its taught copy are left out together: what is left is what it was judged by before.
    assert after["train/good/000.png"] == pytest.approx(before["train/good/000.png"], rel=1e-4)
    assert after["train/good/001.png"] != pytest.approx(before["train/good/001.png"], rel=1e-4)
    assert _teach(results, run_id, beside[0], _brighter(beside[1], tmp_path / "other.png")) == 0
    names = set(_calibrated(folder / "taught"))
    assert names == set(before) - {"validation/good/0.png", "validation/good/1.png"}
    assert read_record(folder / "taught").calibration.images == 13


def test_images_that_are_held_out_do_not_judge_a_detector_that_was_taught_copies_of_them(tmp_path, tiny_dataset):
    results = tmp_path / "results"
    experiment = Experiment(tiny_dataset, image_size=64, validation_split=0.3, tensorboard="off", results=results)
    detector, arguments = CONFIGURATIONS["Padim"]
    run_id = experiment.run(detector, **arguments, trim=0.1).run_id
    folder = results / "runs" / run_id
    before = _calibrated(folder)
    held = next(iter(before))
    assert _teach(results, run_id, _brighter(tiny_dataset / held, tmp_path / "copy.png")) == 0
    assert set(_calibrated(folder / "taught")) == set(before) - {held} and len(before) > 1


def test_another_rule_is_in_force_for_the_taught_detector_too(trained, results, stained):
    run_id = trained[1]["Padim"]
    folder = results / "runs" / run_id
    assert _teach(results, run_id, stained / "taught") == 0
    assert rethreshold.main([run_id, "--rule", "quantile", "--alpha", "0.5", "--results", str(results)]) == 0
    for place in (folder, folder / "taught"):
        record, scores = read_record(place), read_scores(place)
        assert record.rule == "quantile" and record.rethresholded
        assert record.thresholds["image"] == pytest.approx(np.median(read_calibration(place).scores))
        assert list(scores.called) == list(scores.scores >= record.thresholds["image"])
    assert read_record(folder / "taught").taught is not None and read_record(folder).taught is None
    assert load_predictor(run_id, results).thresholds.image == read_record(folder / "taught").thresholds["image"]


def test_an_exported_file_of_before_is_not_taken_for_the_taught_detector(trained, results, stained, capsys):
    run_id = trained[1]["Padim"]
    (results / "runs" / run_id / "exports").mkdir()
    (results / "runs" / run_id / "exports" / "model.onnx").write_text("of before")
    assert _teach(results, run_id, stained / "taught") == 0
    assert "what is in exports/ was taught nothing: export it again" in capsys.readouterr().out
    with pytest.raises(InputError, match="is not exported to onnx since it was taught"):
        load_predictor(run_id, results, options=LoadOptions(runtime="onnx"))


def test_no_file_in_8_bit_integers_is_made_of_the_detector_as_it_was_before_it_was_taught(
    trained, results, stained, capsys
):
    run_id = trained[1]["Padim"]
    assert _teach(results, run_id, stained / "taught") == 0
    capsys.readouterr()
    arguments = [run_id, "--format", "onnx", "--precision", "int8", "--results", str(results)]
    assert run_command(export.main, arguments) == 2
    told = capsys.readouterr().err
    assert "was taught 6 photographs, and files of 8-bit integers are made of runs as they were trained" in told
    assert not (results / "runs" / run_id / "exports").exists()


def test_false_alarms_of_a_station_are_taught_to_the_run_that_raised_them(trained, results, stained, tmp_path, capsys):
    run_id, images = trained[1]["Patchcore"], sorted((stained / "taught").iterdir())
    ledger = make_ledger(tmp_path / "line")
    for index, (run, said) in enumerate([(run_id, "good"), (run_id, "bad"), ("other", "good")]):
        views = {"top": (images[index], True), "side": (images[index + 3], False)}
        ledger.correct(file_part(ledger, f"p{index}", "bad", views, run=run), said, "Anna", 5.0)
    assert _teach(results, run_id, "--station", tmp_path / "line") == 0
    (image,) = read_record(results / "runs" / run_id / "taught").taught.images
    assert image.sha256 == sha256(images[0]) and image.part == "line/2026-11-26/p0"
    assert _teach(results, trained[1]["Padim"], "--station", tmp_path / "line") == 2
    assert f"there are some of other, {run_id}" in capsys.readouterr().err


def test_verdicts_of_a_station_say_how_much_the_detector_had_been_taught(trained, results, stained, tmp_path):
    run_id, images = trained[1]["Padim"], sorted((stained / "others").iterdir())
    options = ["--output", tmp_path / "line", "--views", "1", "--once", "--settle", "0", "--no-pictures"]

    def judged(name):
        (tmp_path / "inbox").mkdir(exist_ok=True)
        shutil.copy(images[0], tmp_path / "inbox" / f"{name}_1.png")
        arguments = [results / "runs" / run_id, tmp_path / "inbox", *options]
        assert run_command(station.main, [*map(str, arguments)]) == 0
        (path,) = (tmp_path / "line").glob(f"*/{name}/verdict.json")
        (view,) = json.loads(path.read_text())["photographs"]
        return view["run"], view["taught"]

    assert judged("before") == (run_id, 0)
    assert _teach(results, run_id, stained / "taught") == 0
    assert judged("after") == (run_id, 6)


def test_photographs_of_a_station_that_were_archived_are_left_out(trained, results, stained, tmp_path, capsys):
    run_id, images = trained[1]["Padim"], sorted((stained / "taught").iterdir())
    ledger = make_ledger(tmp_path / "line")
    for index in range(2):
        part = file_part(ledger, f"p{index}", "bad", {"top": (images[index], True)}, run=run_id)
        ledger.correct(part, "good", "Anna", 5.0)
    filed = [tmp_path / "line" / "2026-11-26" / name / "top.png" for name in ("p0", "p1")]
    filed[0].unlink()
    assert _teach(results, run_id, "--station", tmp_path / "line") == 0
    assert "1 photographs are left out, which are no longer in" in capsys.readouterr().out
    assert [image.sha256 for image in read_record(results / "runs" / run_id / "taught").taught.images] == [
        sha256(images[1])
    ]
    filed[1].unlink()
    assert _teach(results, run_id, "--station", tmp_path / "line") == 2
    assert "none of the 2 photographs" in capsys.readouterr().err


def test_what_cannot_be_taught_is_said_and_nothing_changes(trained, results, stained, tiny_dataset, tmp_path, capsys):
    runs, taught = trained[1], stained / "taught"
    before = _tree(results / "runs")

    def refused(*arguments):
        assert _teach(results, *arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1
        return said

    assert "valid: runs of Padim, Patchcore" in refused(runs["Autoencoder"], taught)
    assert "weight=3 is for sums, and Patchcore keeps patches" in refused(runs["Patchcore"], taught, "--weight", 3)
    assert "--weight 0 is out of range" in refused(runs["Padim"], taught, "--weight", 0)
    assert "one of the three" in refused(runs["Padim"])
    trained_on = tiny_dataset / "train" / "good"
    assert "all 12 photographs are trained on or taught already" in refused(runs["Padim"], trained_on)
    assert "nothing.png is no file" in refused(runs["Padim"], tmp_path / "nothing.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    assert "broken.png is not an image" in refused(runs["Padim"], tmp_path / "broken.png")
    for path in (tiny_dataset / "test").rglob("*.png"):
        _brighter(path, tmp_path / "copies" / f"{path.parent.name}{path.name}")
    assert "has no test image that does not show" in refused(runs["Padim"], tmp_path / "copies")
    defective = tiny_dataset / "test" / "square" / "000.png"
    shutil.copy(defective, tmp_path / "called good.png")
    said = refused(runs["Padim"], tmp_path / "called good.png")
    assert "called good.png is to be taught as good, and" in said and f"{defective}, which is the same" in said
    shutil.copytree(tiny_dataset, tmp_path / "check")
    other = save(tmp_path / "check" / "test" / "spot" / "0.png", texture(np.random.default_rng(5)))
    spot = np.zeros((48, 48), np.uint8)
    spot[9:19, 9:19] = 255
    save(tmp_path / "check" / "ground_truth" / "spot" / "0_mask.png", spot)
    assert "shows a defect" in refused(runs["Padim"], shutil.copy(other, tmp_path), "--check", tmp_path / "check")
    assert _tree(results / "runs") == before


def test_a_run_whose_images_are_others_by_now_is_refused(tmp_path, tiny_dataset, stained, capsys):
    data = tmp_path / "data"
    shutil.copytree(tiny_dataset, data)
    experiment = Experiment(data, image_size=64, tensorboard="off", results=tmp_path / "results")
    run_id = run_small(experiment, "Padim").run_id
    assert _teach(tmp_path / "results", run_id, stained / "taught") == 0
    experiment.run("Padim", rerun=True, **CONFIGURATIONS["Padim"][1])
    assert not (tmp_path / "results" / "runs" / run_id / "taught").exists(), "a new training was taught nothing"
    next((data / "train" / "good").iterdir()).unlink()
    assert _teach(tmp_path / "results", run_id, stained / "taught") == 2
    assert "are not those that" in capsys.readouterr().err

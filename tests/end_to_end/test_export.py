"""An exported detector gives the scores, maps and labels of its run, in whatever program it is loaded."""

import csv
import json
import shutil
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from anomalib import models
from anomalib.data import PredictDataset
from anomalib.engine import Engine
from fastapi.testclient import TestClient
from helpers.small_runs import run_small
from PIL import Image
from torch.utils.data import DataLoader

from inference_code import predict
from inference_code.export.__main__ import main
from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.predictor import Failure
from inference_code.runtimes import LoadOptions
from inference_code.service.app import create_app
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command

BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2"]}
CONFIGURATIONS = {
    "Padim": BACKBONE | {"n_features": 10},
    "Patchcore": BACKBONE | {"coreset_sampling_ratio": 0.2, "num_neighbors": 3},
    "Cflow": BACKBONE | {"max_epochs": 3, "coupling_blocks": 2, "lr": 0.01},
    "Dsr": {"max_epochs": 3, "width": 0.1, "embedding_dim": 8, "num_embeddings": 4, "codebook_epochs": 20},
    "Draem": {"max_epochs": 1, "width": 0.05},
    "Autoencoder": {"crop_size": 32, "stride": 24, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1},
    "FeatureSegmenter": BACKBONE | {"hidden": 8, "epochs": 3, "augment": 1, "folds": 2},
    "Combined": {"combine": ["Padim", "Patchcore", "Draem"], "how": "maximum"},
    "Supersimplenet": BACKBONE | {"max_epochs": 2, "width": 0.1, "batch_size": 8, "supervised": True},
    "Unet": {"backbone": "efficientnet_lite0", "decoder_channels": [16, 8, 8, 8, 8], "max_epochs": 2},
}
TOLERANCE = 1e-3
# Where two codes of DSR are as near, rounding decides between them for single pixels, as in torch itself.
MAPS_TOLERANCE = {"Dsr": 0.1}
BATCH = 4


def test_every_detector_is_tried():
    small = {name for name, spec in DETECTORS.items() if spec.small}  # those of test_small_detectors.py
    assert set(CONFIGURATIONS) | small == set(DETECTORS)


@pytest.fixture(scope="module")
def tiny_dataset(labelled_dataset):
    """Images that detectors which learn from labels can be trained on, too."""
    return labelled_dataset


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_dataset):
    results = tmp_path_factory.mktemp("results")
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=results)
    configurations = {name: (name, arguments) for name, arguments in CONFIGURATIONS.items()}
    return {name: run_small(experiment, name, configurations) for name in CONFIGURATIONS}


@pytest.fixture(scope="module")
def files(tiny_dataset):
    return sorted((tiny_dataset / "test").rglob("*.png"))


@pytest.fixture(scope="module")
def own(runs, files):
    """By detector what the run itself says about the test images, and about three of them as arrays in one batch."""
    found = {}
    for name, run in runs.items():
        predictor = load_predictor(run.folder, options=LoadOptions(device="cpu"))
        found[name] = _raw(predictor, files), list(predictor.predict(_arrays(files[:3]), 3))
    return found


def _arrays(files):
    return [np.dstack([np.asarray(Image.open(file))] * 3) for file in files]


def _raw(predictor, files):
    found = list(predictor.predict(files, BATCH))
    return (
        np.array([prediction.score for prediction in found]),
        np.stack([prediction.anomaly_map for prediction in found]),
        [prediction.abnormal for prediction in found],
    )


def _assert_close(found, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(np.ptp(expected), 0.1 * expected.max()))


@pytest.fixture(scope="module")
def exported_once(runs, tmp_path_factory):
    """What exports a detector for a runtime the first time, and returns the file and how far it is off."""
    return cache(lambda name, runtime: export_run(runs[name].folder, runtime, tmp_path_factory.mktemp("export")))


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_exported_file_gives_scores_maps_and_labels_of_its_run(exported_once, files, own, name, runtime):
    path, difference = exported_once(name, runtime)
    assert 0 <= difference.score <= TOLERANCE and difference.images == 10 and difference.source == "images of tiny"
    (scores, maps, labels), few = own[name]
    assert np.ptp(maps) > 0
    exported = load_predictor(path, options=LoadOptions(runtime))
    found_scores, found_maps, found_labels = _raw(exported, files)
    _assert_close(found_scores, scores)
    _assert_close(found_maps, maps, MAPS_TOLERANCE.get(name, TOLERANCE))
    assert found_labels == labels
    # What stands in the graph itself, on images of another size that are resized by it, one and several at once.
    pixels = np.stack(_arrays(files[:3])).transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert pixels.shape == (3, 3, 48, 48)
    outputs = exported.graph(pixels)
    _assert_close(outputs["score"], np.array([prediction.score for prediction in few]))
    assert outputs["label"].tolist() == [prediction.abnormal for prediction in few]
    expected = [prediction.normalised_score for prediction in few]
    np.testing.assert_allclose(outputs["normalised_score"], expected, atol=TOLERANCE)
    assert exported.graph(pixels[:1])["anomaly_map"].shape == (1, 1, 64, 64)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_way_gives_the_same_scores_and_labels(runs, files, own, exported_once, name, tmp_path):
    run, source = runs[name], files[0].parents[1]
    scores, _, labels = own[name][0]
    with open(run.folder / "scores.csv", newline="") as table:
        evaluated = {row["path"]: row for row in csv.DictReader(table)}
    rows = [evaluated[str(file.relative_to(source.parent))] for file in files]
    ways = {
        "evaluation": ([float(row["score"]) for row in rows], [row["prediction"] == "1" for row in rows]),
        "command line": _by_command(run.folder, source, files, tmp_path / "torch"),
        "notebook": _by_notebook(run.folder, source, files),
        "HTTP": _by_http(load_predictor(run.folder), files),
    }
    for way, (found, called) in ways.items():
        np.testing.assert_allclose(found, scores, rtol=1e-5, err_msg=way)
        assert called == labels, way
    for runtime in ("onnx", "openvino"):
        path, _ = exported_once(name, runtime)
        for found, called in (
            _by_command(path, source, files, tmp_path / runtime, "--runtime", runtime),
            _by_http(load_predictor(path, options=LoadOptions(runtime)), files),
        ):
            _assert_close(np.array(found), scores)
            assert called == labels, runtime


def _by_command(run, source, files, output, *options):
    given = [str(run), str(source), "--output", str(output), "--no-pictures", *options]
    assert run_command(predict.main, given) == 0
    with open(output / "predictions.csv", newline="") as table:
        rows = {row["path"]: row for row in csv.DictReader(table)}
    return [float(rows[str(file)]["score"]) for file in files], [rows[str(file)]["abnormal"] == "1" for file in files]


def _by_notebook(run, source, files):
    """Run the cells in this process: a kernel would take longer than everything else here."""
    names = {}
    for cell in nbformat.read(paths.NOTEBOOKS / "20_inference.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")), names)
        if "parameters" in cell.metadata.get("tags", ()):
            names |= {"run": str(run), "source": str(source)}
    found = {prediction.path: prediction for prediction in names["found"]}
    return [found[file].score for file in files], [found[file].abnormal for file in files]


def _by_http(predictor, files):
    with TestClient(create_app([predictor]), "http://127.0.0.1") as client:
        images = [("images", file.read_bytes()) for file in files]
        answers = client.post("/predict/batch", files=images).raise_for_status().json()["images"]
        alone = client.post("/predict", files={"image": files[0].read_bytes()}).raise_for_status().json()
    assert alone["score"] == pytest.approx(answers[0]["score"], rel=1e-4)
    return [answer["score"] for answer in answers], [answer["abnormal"] for answer in answers]


def test_exported_files_run_on_the_processor(exported_once, files, tmp_path):
    path, _ = exported_once("Padim", "onnx")
    given = [str(path), str(files[0]), "--output", str(tmp_path / "out"), "--runtime", "onnx"]
    assert run_command(predict.main, [*given, "--device", "cuda"]) == 2


def test_what_is_known_of_an_export_lies_beside_it(runs, tmp_path):
    run = runs["Patchcore"]
    path, difference = export_run(run.run_id, "openvino", tmp_path, run.folder.parents[1])
    record = json.loads((run.folder / "run.json").read_text())
    beside = json.loads((tmp_path / "model.xml.json").read_text())
    assert path == tmp_path / "model.xml"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.bin", "model.xml", "model.xml.json"]
    assert beside["run_id"] == run.run_id and beside["image_size"] == [64, 64]
    assert beside["thresholds"] == record["thresholds"] and beside["bits"] == record["dataset"]["bits"]
    assert set(beside["files"]) == {"model.bin", "model.xml"}
    assert beside["difference"]["score"] == difference.score
    assert beside["record"]["checkpoint"] == record["checkpoint"]


@pytest.fixture(scope="module")
def exported(runs):
    """The folder of a run with an export where it lies by default."""
    folder = runs["Padim"].folder
    assert export_run(folder, "onnx")[0] == folder / "exports" / "model.onnx"
    return folder


def test_an_export_is_found_by_its_run_its_folder_and_its_file(exported, files):
    results = exported.parents[1]
    places = [exported.name, exported, exported / "exports", exported / "exports" / "model.onnx"]
    found = [load_predictor(place, results, options=LoadOptions("onnx")) for place in places]
    scores = [next(predictor.predict(files[:1])).score for predictor in found]
    assert len(set(scores)) == 1
    assert all(predictor.folder == exported and predictor.record.run_id == exported.name for predictor in found)
    with pytest.raises(
        InputError, match="is not exported to openvino; python -m inference_code.export padim-.*openvino"
    ):
        load_predictor(exported.name, results, options=LoadOptions("openvino"))


def test_a_bad_image_becomes_a_failure_and_other_thresholds_change_the_labels(exported, files, tmp_path):
    (tmp_path / "page.png").write_text("<html>")
    predictor = load_predictor(exported, options=LoadOptions("onnx"))
    before, failure = predictor.predict([files[0], tmp_path / "page.png"])
    assert isinstance(failure, Failure) and "page.png is not an image" in failure.reason
    predictor.thresholds = type(predictor.thresholds)(before.score + 1, None)
    (low,) = predictor.predict(files[:1])
    predictor.thresholds = type(predictor.thresholds)(before.score - 1, None)
    (high,) = predictor.predict(files[:1])
    assert (low.abnormal, high.abnormal) == (False, True)


def test_an_export_that_was_changed_cut_short_or_outlived_is_refused(exported, tmp_path):
    copy = shutil.copytree(exported / "exports", tmp_path / "copy")
    with open(copy / "model.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="is not the file that was exported; trust_changed"):
        load_predictor(copy, options=LoadOptions("onnx"))
    (copy / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="model.onnx cannot be opened"):
        load_predictor(copy, options=LoadOptions("onnx", trust_changed=True))
    (copy / "model.onnx.json").write_text("{}")
    with pytest.raises(InputError, match="has schema version None"):
        load_predictor(copy, options=LoadOptions("onnx"))
    (copy / "model.onnx.json").unlink()
    with pytest.raises(InputError, match="the export was not finished"):
        load_predictor(copy, options=LoadOptions("onnx"))
    run = shutil.copytree(exported, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["checkpoint"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="is of an older training of its run"):
        load_predictor(run, options=LoadOptions("onnx"))


def test_without_the_dataset_made_up_images_are_compared(runs, tmp_path):
    run = shutil.copytree(runs["Patchcore"].folder, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["folder"] = str(tmp_path / "nowhere")
    (run / "run.json").write_text(json.dumps(record))
    _, difference = export_run(run, "onnx")
    assert difference.source == "made up images" and difference.images == 10 and difference.score <= TOLERANCE


def test_what_differs_too_much_is_refused_and_nothing_is_left_of_it(runs, tmp_path):
    # float32 in another order of adding is never the same to the last bit
    with pytest.raises(InputError, match="is not exported to onnx: on 10 images of tiny its scores differ by .* valid"):
        export_run(runs["Padim"].folder, "onnx", tmp_path, tolerance=0.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["Padim", "Patchcore", "Cflow"])
def test_plain_anomalib_loads_the_checkpoint_and_gives_scores_and_labels_of_the_run(runs, files, name, tmp_path):
    run = runs[name]
    path, difference = export_run(run.folder, "anomalib", tmp_path)
    assert difference.score <= TOLERANCE
    content = torch.load(path, weights_only=True)
    assert "training_code" not in str(content["hyper_parameters"])
    module = getattr(models, name).load_from_checkpoint(path, map_location="cpu").eval()
    assert type(module).__module__.startswith("anomalib.") and type(module.model).__module__.startswith("anomalib.")
    own = list(load_predictor(run.folder, options=LoadOptions(device="cpu")).predict(files, 32))
    pixels = np.stack([np.dstack([np.asarray(Image.open(file))] * 3).transpose(2, 0, 1) for file in files])
    with torch.inference_mode():
        images = module.pre_processor.transform(torch.from_numpy(pixels).float() / 255)
        # One by one: what anomalib's Cflow says of an image depends on what else is in the batch.
        raw = torch.cat([module.model(image[None]).pred_score.reshape(-1) for image in images]).numpy()
    _assert_close(raw, np.array([prediction.score for prediction in own]))
    engine = Engine(accelerator="cpu", devices=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    given = PredictDataset(files[0].parents[1])
    batches = engine.predict(module, DataLoader(given, collate_fn=given.collate_fn), ckpt_path=path)
    found = {Path(item): batch for batch in batches for item in batch.image_path}
    for file, prediction in zip(files, own, strict=True):
        assert bool(found[file].pred_label) == prediction.abnormal
        assert float(found[file].pred_score) == pytest.approx(prediction.normalised_score, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "Autoencoder",
            "is this project's own and anomalib has no class for it; .* valid for this run: onnx, openvino",
        ),
        ("Dsr", "width=0.1 cannot be converted: anomalib's Dsr has only 1.0"),
        (
            "Unet",
            "is this project's own and anomalib has no class for it; .* valid for this run: onnx, openvino",
        ),
        ("Supersimplenet", "width=0.1 cannot be converted: anomalib's Supersimplenet has only 1.0"),
        ("Draem", "width=0.05 cannot be converted: anomalib's Draem has only 1.0"),
    ],
)
def test_what_anomalib_has_no_class_for_is_refused_with_the_reason(runs, tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        export_run(runs[name].folder, "anomalib", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_or_run_is_one_line_with_the_valid_ones(exported, capsys):
    results = ["--results", str(exported.parents[1])]
    assert run_command(main, [exported.name, "--format", "onx", *results]) == 2
    assert "unknown format 'onx' (did you mean 'onnx'?); valid: onnx, openvino, anomalib" in capsys.readouterr().err
    assert run_command(main, ["nowhere", "--format", "onnx", *results]) == 2
    assert "there is no run 'nowhere'" in capsys.readouterr().err


def test_the_command_says_where_the_file_is_and_how_far_it_is_off(exported, tmp_path, capsys):
    options = ["--format", "onnx", "--output", str(tmp_path), "--results", str(exported.parents[1])]
    assert run_command(main, [exported.name, *options]) == 0
    text = capsys.readouterr().out
    assert f"written: {tmp_path / 'model.onnx'}, model.onnx.json beside it" in text
    assert "largest difference on 10 images of tiny: " in text

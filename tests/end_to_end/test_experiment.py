"""`Experiment.run` from images to record."""

import csv
import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from helpers.data import make_mvtec

from training_code.detectors import Cflow, Padim, Patchcore
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.records.reading import read_record

LITE0 = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}


@pytest.fixture
def experiment(tmp_path, tiny_dataset):
    return Experiment(tiny_dataset, image_size=64, seed=0, results=tmp_path / "results")


def _scores(run):
    with open(run.folder / "scores.csv", newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


def test_a_run_keeps_scores_checkpoint_pictures_and_record(experiment):
    run = experiment.run(Padim, **LITE0, n_features=10)
    assert run.status == "ok" and not run.stored
    assert sorted(path.name for path in run.folder.iterdir()) == [
        *("appearance.csv", "calibration.csv", "examples", "model.ckpt", "run.json", "scores.csv")
    ]
    with open(run.folder / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14 and rows[0]["path"] == "test/bar/000.png" and rows[0]["defect_type"] == "bar"
    threshold = run.record.thresholds["image"]
    for row in rows:
        assert int(row["label"]) == (row["defect_type"] != "good")
        assert int(row["prediction"]) == (float(row["score"]) >= threshold)
    assert set(run.record.by_defect_type) == {"bar", "square"}
    low, high = run.record.intervals["image_AUROC"]
    assert low <= run.metrics["image_AUROC"] <= high
    assert "image_AUROC" in run._repr_html_() and "data:image/png" in run._repr_html_()
    assert list(experiment.store.results.glob("runs/.*")) == []


@pytest.mark.parametrize(
    ("detector", "arguments"),
    [(Padim, {"n_features": 10}), (Patchcore, {"num_neighbors": 2}), (Cflow, {"max_epochs": 1, "coupling_blocks": 2})],
)
def test_checkpoints_hold_tensors_and_plain_data_only(experiment, detector, arguments):
    run = experiment.run(detector, **LITE0, **arguments)
    content = torch.load(run.folder / "model.ckpt", weights_only=True)
    assert content["hyper_parameters"]["backbone"] == "tf_efficientnet_lite0"
    assert content["hyper_parameters"]["pre_trained"] is False
    assert not any("blocks.3" in name for name in content["state_dict"]), "what lies behind the last layer is not kept"


def test_running_again_shows_the_stored_result_and_rerun_trains(experiment):
    first = experiment.run(Padim, **LITE0, n_features=10)
    record = (first.folder / "run.json").read_bytes()
    again = experiment.run(Padim, **LITE0, n_features=10)
    assert again.stored and again.metrics == first.metrics
    assert (first.folder / "run.json").read_bytes() == record
    anew = experiment.run(Padim, **LITE0, n_features=10, rerun=True)
    assert not anew.stored and _scores(anew) == _scores(first)
    assert len(experiment.table()) == 1 and experiment.best().run_id == first.run_id


def test_a_missing_weight_file_is_skipped_with_the_way_to_get_it(experiment):
    run = experiment.run(Padim, backbone="resnet18")
    assert run.status == "skipped" and "weights/resnet18.safetensors" in run.reason
    assert "skipped" in run._repr_html_()
    assert not (experiment.store.results / "runs").exists()


def test_a_failure_is_recorded_and_tried_again(experiment, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of luck"):
        patch.setattr("training_code.findings.rank_predictions", _raise(RuntimeError("out of luck")))
        experiment.run(Padim, **LITE0, n_features=10)
    (folder,) = experiment.store.results.glob("runs/*")
    record = read_record(folder)
    assert record.status == "failed" and record.error == "RuntimeError: out of luck"
    assert experiment.run(Padim, **LITE0, n_features=10).status == "ok"
    assert read_record(folder).status == "ok"


@pytest.mark.parametrize(
    "stage", ["pipeline.write_examples", "records.store.write_record", "records.store.RunStore.publish"]
)
def test_a_failing_rerun_leaves_the_good_result(experiment, monkeypatch, stage):
    run = experiment.run(Padim, **LITE0, n_features=10)
    before = (run.folder / "run.json").read_bytes()
    monkeypatch.setattr(f"training_code.{stage}", _raise(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        experiment.run(Padim, **LITE0, n_features=10, rerun=True)
    assert (run.folder / "run.json").read_bytes() == before
    assert experiment.run(Padim, **LITE0, n_features=10).stored


def test_running_out_of_memory_has_a_status_of_its_own(experiment, monkeypatch):
    monkeypatch.setattr("training_code.findings.rank_predictions", _raise(MemoryError("too much")))
    with pytest.raises(MemoryError):
        experiment.run(Padim, **LITE0, n_features=10)
    (folder,) = experiment.store.results.glob("runs/*")
    assert read_record(folder).status == "out_of_memory"


def test_two_processes_that_start_the_same_run_at_once_train_it_once(experiment):
    runs = []
    threads = [threading.Thread(target=lambda: runs.append(experiment.run(Padim, **LITE0, n_features=7))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.stored for run in runs) == [False, True]


def test_what_a_killed_process_left_is_cleaned(experiment):
    run = experiment.run(Padim, **LITE0, n_features=10)
    leftover = run.folder.parent / f".{run.run_id}.abcd"
    leftover.mkdir()
    experiment.run(Padim, **LITE0, n_features=10, rerun=True)
    assert not leftover.exists()


def test_without_masks_pixel_metrics_are_blank(tmp_path):
    folder = make_mvtec(tmp_path / "unmasked", masks=False)
    run = Experiment(folder, image_size=64, results=tmp_path).run(Padim, **LITE0, n_features=10)
    assert {name for name in run.metrics if name.startswith("pixel")} == {"pixel_MarkedGoodShare"}
    assert set(run.metrics) >= {"image_AUROC", "image_F1Score", "image_AUPR", "image_F1Max"}


def test_without_abnormal_images_there_are_scores_and_false_alarms(tmp_path):
    folder = make_mvtec(tmp_path / "normal", defective=0)
    run = Experiment(folder, image_size=64, results=tmp_path).run(Padim, **LITE0, n_features=10)
    assert set(run.metrics) == {"image_FalseAlarmRate", "pixel_MarkedGoodShare"}
    assert len(_scores(run)) == 6 and np.isfinite(_scores(run)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_size": 16}, "image_size=16 is out of range; valid: a whole number 32 to 8192"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"seed": True}, "seed=True is out of range"),
        ({"normalization": "none"}, "unknown normalization 'none'; valid: backbone, imagenet"),
        ({"validation_split": 0.9}, "validation_split=0.9 is out of range; valid: 0 to 0.5"),
        ({"train_batch_size": 0}, "train_batch_size=0 is out of range"),
        ({"dataset": "/nowhere"}, "no dataset folder '/nowhere'"),
        ({"dataset": ""}, "no dataset is given"),
        ({"image_size": "256"}, "image_size='256' is out of range"),
        ({"image_size": (256,)}, "must be one number, or height and width"),
        ({"feature_store": "yes"}, "unknown feature_store 'yes'; valid: auto, on, off"),
        ({"backbone_runtime": "onnx"}, "unknown backbone_runtime 'onnx'; valid: auto, openvino, torch"),
        ({"validation_split": "0.1"}, "validation_split='0.1' is out of range"),
    ],
)
def test_a_wrong_protocol_is_refused_before_any_computation(tiny_dataset, arguments, words):
    with pytest.raises(InputError, match=words):
        Experiment(**{"dataset": tiny_dataset} | arguments)


def test_normalization_is_the_backbones_own_or_imagenets_for_all(tmp_path, tiny_dataset):
    scores = {}
    for mode, mean in (("backbone", [0.5] * 3), ("imagenet", [0.485, 0.456, 0.406])):
        experiment = Experiment(tiny_dataset, image_size=64, normalization=mode, results=tmp_path)
        run = experiment.run(Padim, **LITE0, n_features=10)
        saved = torch.load(run.folder / "model.ckpt", weights_only=True)["anomalib_pre_processor_config"]
        assert str(mean) in str(saved)
        assert list(run.record.identity.mean) == mean
        scores[mode] = _scores(run)
    assert not np.allclose(scores["backbone"], scores["imagenet"], rtol=1e-3)


def test_workers_that_read_images_have_no_influence_on_scores(tmp_path, tiny_dataset):
    scores = []
    for workers in (0, 2):
        experiment = Experiment(tiny_dataset, image_size=64, num_workers=workers, results=tmp_path / str(workers))
        scores.append(_scores(experiment.run(Patchcore, **LITE0, coreset_sampling_ratio=0.2)))
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("detector", "arguments"),
    [(Padim, {"n_features": 10}), (Patchcore, {"num_neighbors": 2}), (Cflow, {"max_epochs": 2, "coupling_blocks": 2})],
)
def test_what_configurations_share_has_no_influence_on_their_scores(
    tmp_path, tiny_dataset, monkeypatch, detector, arguments
):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    # Not "auto", which measures whether reading is faster than computing: on a busy machine it may not be.
    experiment = Experiment(tiny_dataset, image_size=64, seed=0, feature_store="on", results=tmp_path / "results")
    # Fills the store, also with the varied anomalies that detectors in epochs judge in any case.
    experiment.run(Patchcore, **LITE0 | {"layers": ["blocks.2", "blocks.4"]}, num_neighbors=5, varied_anomalies=True)
    shared = experiment.run(detector, **LITE0, **arguments)
    store = shared.record.features["store"]
    assert store["misses"] == 0 and store["hits"] >= 12 + 14
    monkeypatch.setattr(paths, "CACHE", tmp_path / "empty")
    alone = Experiment(tiny_dataset, image_size=64, seed=0, feature_store="off", results=tmp_path / "alone").run(
        detector, **LITE0, **arguments
    )
    assert alone.run_id == shared.run_id and alone.record.features["store"]["mode"] == "off"
    assert _scores(alone) == _scores(shared) and alone.metrics == shared.metrics


def test_torch_and_openvino_give_the_same_scores(tmp_path, tiny_dataset):
    runs = [
        Experiment(tiny_dataset, image_size=64, backbone_runtime=runtime, results=tmp_path / runtime).run(
            Padim, **LITE0
        )
        for runtime in ("torch", "openvino")
    ]
    assert [run.record.features["runtime"] for run in runs] == ["torch", "openvino"]
    assert _scores(runs[0]) == pytest.approx(_scores(runs[1]), rel=1e-4)


def test_training_stops_when_held_out_images_gain_nothing_and_keeps_the_best_epoch(experiment, monkeypatch):
    losses = iter([5.0, 3.0, 4.0, 3.5, 1.0])
    monkeypatch.setattr(Cflow, "validation_step", lambda self, batch, *_: self.log("val_loss", next(losses)))
    trained = []
    on_end = Cflow.on_train_epoch_end
    monkeypatch.setattr(
        Cflow,
        "on_train_epoch_end",
        lambda self: (
            trained.append({n: t.clone() for n, t in self.model.decoders.state_dict().items()}) or on_end(self)
        ),
    )
    run = experiment.run(Cflow, **LITE0, coupling_blocks=2, max_epochs=10, patience=2)
    assert run.record.training["epochs"] == 4 and len(trained) == 4
    assert run.record.training["curves"]["val_loss"] == [5.0, 3.0, 4.0, 3.5]
    state = torch.load(run.folder / "model.ckpt", weights_only=True)["state_dict"]
    for name, tensor in trained[1].items():
        assert torch.equal(state[f"model.decoders.{name}"], tensor)
    assert any(not torch.equal(tensor, trained[3][name]) for name, tensor in trained[1].items())


def test_the_loss_on_held_out_images_is_that_of_training(experiment):
    run = experiment.run(Cflow, **LITE0, coupling_blocks=2, max_epochs=2, patience=1)
    curves = run.record.training["curves"]
    assert len(curves["train_loss"]) == len(curves["val_loss"]) == 2 and run.status == "ok"


def test_names_of_files_have_no_influence_on_scores(tmp_path, tiny_dataset):
    renamed = tmp_path / "renamed"
    shutil.copytree(tiny_dataset, renamed)
    for number, path in enumerate(sorted((renamed / "train" / "good").iterdir())):
        path.rename(path.with_name(f"{(number * 5) % 12:03d} $x^2$ ü.png"))
    runs = [
        Experiment(folder, image_size=64, results=tmp_path / folder.name).run(Patchcore, **LITE0)
        for folder in (tiny_dataset, renamed)
    ]
    assert runs[0].run_id == runs[1].run_id and _scores(runs[0]) == _scores(runs[1])


@pytest.mark.parametrize(
    ("detector", "arguments", "words"),
    [
        (Cflow, {"patience": 2}, "patience needs validation images: with validation_split=0 there are none"),
        # blocks.2 has 8 × 8 positions.
        (Patchcore, {"coreset_sampling_ratio": 0.001}, "selects nothing of 768 patches of 12 images"),
    ],
)
def test_too_few_images_are_noticed_before_training(tmp_path, tiny_dataset, detector, arguments, words):
    experiment = Experiment(tiny_dataset, image_size=64, validation_split=0, results=tmp_path)
    with pytest.raises(InputError, match=words):
        experiment.run(detector, **LITE0, **arguments)
    assert not (tmp_path / "runs").exists()


SCRIPT = """
import sys
from training_code.experiment import Experiment
experiment = Experiment(sys.argv[1], image_size=64, seed=3, results=sys.argv[2])
for detector, arguments in (
    ("Padim", {"n_features": 10}),
    ("Patchcore", {"coreset_sampling_ratio": 0.2}),
    ("Cflow", {"max_epochs": 2, "coupling_blocks": 2}),
):
    experiment.run(detector, backbone="efficientnet_lite0", layers=["blocks.2"], **arguments)
"""


def test_the_same_seed_gives_the_same_scores_in_fresh_processes(tmp_path, tiny_dataset):
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", SCRIPT, tiny_dataset, tmp_path / name], check=True, capture_output=True)
    runs = sorted(path.name for path in (tmp_path / "one" / "runs").iterdir())
    assert len(runs) == 3 and runs == sorted(path.name for path in (tmp_path / "two" / "runs").iterdir())
    for run_id in runs:
        one, two = (_scores(type("R", (), {"folder": tmp_path / name / "runs" / run_id})) for name in ("one", "two"))
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
        records = [json.loads((tmp_path / name / "runs" / run_id / "run.json").read_text()) for name in ("one", "two")]
        assert records[0]["metrics"] == records[1]["metrics"]


def _raise(error):
    def function(*_):
        raise error

    return function

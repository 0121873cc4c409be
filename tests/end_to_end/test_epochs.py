"""Detectors that train in epochs: they go on after a kill, and say what is wrong before they begin."""

import json

import pandas as pd
import pytest
import torch

from training_code.comparison.table import runs_table
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.training.callbacks import State

CONFIGURATIONS = {
    "Autoencoder": {
        "variant": "DAE", "crop_size": 32, "stride": 32, "num_crops": 24, "width": 0.25, "latent_dim": 8,
        "batch_size": 8, "max_epochs": 4, "patience": 4, "lr": 0.01,
    },
    "Draem": {"max_epochs": 3, "width": 0.05, "batch_size": 6},
    "Dsr": {"max_epochs": 4, "upsampling_train_ratio": 0.5, "width": 0.05, "embedding_dim": 4, "num_embeddings": 16,
            "codebook_epochs": 1},
    "Cflow": {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "coupling_blocks": 2, "max_epochs": 3},
    "Supersimplenet": {
        "backbone": "efficientnet_lite0", "layers": ["blocks.2"], "width": 0.1, "max_epochs": 3, "batch_size": 16,
        "supervised": True,
    },
    "Unet": {"backbone": "efficientnet_lite0", "decoder_channels": [16, 8, 8, 8, 8], "max_epochs": 3, "batch_size": 16},
    "EfficientAd": {**DETECTORS["EfficientAd"].small, "max_epochs": 3, "patience": 3},
    "UniNet": {**DETECTORS["UniNet"].small, "max_epochs": 3},
    "Dinomaly": DETECTORS["Dinomaly"].small | {"max_epochs": 3},
    "FoundAD": DETECTORS["FoundAD"].small | {"max_epochs": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_training_resumes_after_a_kill_with_the_same_result(name, tiny_dataset, tmp_path, monkeypatch, capsys):
    arguments = CONFIGURATIONS[name]
    conditions = {"image_size": 64, "labelled": 2}
    whole = Experiment(tiny_dataset, results=tmp_path / "whole", **conditions).run(name, **arguments)
    assert whole.status == "ok" and whole.record.training["epochs"] == arguments["max_epochs"]
    experiment = Experiment(tiny_dataset, results=tmp_path / "killed", **conditions)
    write = State.on_train_epoch_end

    def killed(self, trainer, pl_module):
        write(self, trainer, pl_module)
        if trainer.current_epoch == 1:
            raise SystemExit("killed")

    monkeypatch.setattr(State, "on_train_epoch_end", killed)
    with pytest.raises(SystemExit):
        experiment.run(name, **arguments)
    monkeypatch.setattr(State, "on_train_epoch_end", write)
    assert experiment.store.record(whole.run_id) is None
    torch.rand(7)  # other random numbers must make no difference
    resumed = experiment.run(name, **arguments)
    assert "resuming after epoch 2" in capsys.readouterr().out
    assert resumed.run_id == whole.run_id and resumed.record.training["resumed_after_epoch"] == 2
    # There two uninterrupted trainings of these differ by 0.3 % and 0.5 %, since gradients are added up in any order.
    if torch.cuda.is_available() and name in ("Dsr", "Draem"):
        assert resumed.record.training["curves"]["train_loss"] == pytest.approx(
            whole.record.training["curves"]["train_loss"], rel=0.01
        )
        return
    for name_, values in whole.record.training["curves"].items():
        assert resumed.record.training["curves"][name_] == pytest.approx(values, abs=1e-5)
    scores = [pd.read_csv(run.folder / "scores.csv")["score"] for run in (whole, resumed)]
    assert (scores[0] - scores[1]).abs().max() < 1e-5
    states = [torch.load(run.folder / "model.ckpt", weights_only=True)["state_dict"] for run in (whole, resumed)]
    for tensor, again in zip(*(state.values() for state in states), strict=True):
        torch.testing.assert_close(tensor, again, rtol=0, atol=1e-5)
    assert not experiment.store.unfinished(whole.run_id).exists()
    assert (resumed.folder / "tensorboard").is_dir() and (resumed.folder / "examples" / "learning_curves.png").is_file()
    assert "learning curves" in resumed._repr_html_()


def test_a_kill_after_training_does_not_cost_the_training(tiny_dataset, tmp_path, monkeypatch, capsys):
    experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path, tensorboard="off")
    monkeypatch.setattr("training_code.findings.rank_predictions", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        experiment.run("Autoencoder", **CONFIGURATIONS["Autoencoder"])
    monkeypatch.undo()
    run = experiment.run("Autoencoder", **CONFIGURATIONS["Autoencoder"])
    assert run.status == "ok" and "resuming after epoch 4 of 4" in capsys.readouterr().out
    assert run.record.training["epochs"] == 4 and not (run.folder / "tensorboard").exists()


def test_runs_share_phase_1_of_dsr_and_record_what_it_achieved(tiny_dataset, tmp_path, monkeypatch):
    experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path, tensorboard="off")
    arguments = CONFIGURATIONS["Dsr"] | {"codebook_epochs": 3}
    first = experiment.run("Dsr", **arguments).record.training["codebook"]
    assert first["source"] == "trained on the training images" and first["images"] == 11
    assert len(first["reconstruction"]) == len(first["perplexity_top"]) == len(first["perplexity_bottom"]) == 3
    monkeypatch.setattr("training_code.codebooks.train_codebook", lambda *_, **__: pytest.fail("trained again"))
    assert experiment.run("Dsr", **arguments | {"lr": 1e-3}).record.training["codebook"] == first


def test_training_that_diverged_is_a_failure_and_starts_from_the_beginning(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path)
    arguments = CONFIGURATIONS["Cflow"] | {"lr": 1e30}
    with pytest.raises(FloatingPointError, match="diverge"):
        experiment.run("Cflow", **arguments)
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/run.json"))
    assert record["status"] == "failed" and "diverge" in record["error"]
    assert not list((tmp_path / "unfinished").glob("*/*"))


def test_the_workbook_tells_reduced_settings_and_detectors_without_backbone(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path)
    run = experiment.run("Draem", **CONFIGURATIONS["Draem"])
    assert run.run_id.startswith("draem-") and run.record.identity.mean is None
    assert run.record.arguments["batch_size"] == 6
    (row,) = runs_table([(run.folder, run.record)]).to_dict("records")
    assert row["reduced"] == "max_epochs 3 of 700, width 0.05 of 1" and row["epochs"] == 3 and row["width"] == 0.05
    assert row["backbone"] is None and row["pretrained"] and experiment.best() == run


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Autoencoder", {"crop_size": 128}, "crop_size=128 is larger than the images of 64 × 64"),
        ("Autoencoder", {"crop_size": 32, "stride": 33}, "stride=33 is larger than crop_size=32"),
        ("Autoencoder", {"loss": "ssin"}, "loss='ssin' .* valid: one of ssim"),
        ("Dsr", {"max_epochs": 1}, "gives 0 epochs"),
        ("Dsr", {}, "num_embeddings=4096 are more codes than the 704 vectors of 11 training images"),
        ("Draem", {"anomaly_source_path": "nowhere"}, "anomaly_source_path='nowhere' is no folder"),
    ],
)
def test_wrong_use_is_an_error_before_training(name, arguments, words, tiny_dataset, tmp_path):
    with pytest.raises(InputError, match=words):
        Experiment(tiny_dataset, image_size=64, results=tmp_path).run(name, **arguments)
    assert not (tmp_path / "runs").exists()


def test_a_normalization_for_backbones_is_refused_where_there_is_none(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, normalization="imagenet", results=tmp_path)
    with pytest.raises(
        InputError, match="normalization='imagenet' is not for Dsr, which takes images with values from 0"
    ):
        experiment.run("Dsr", **CONFIGURATIONS["Dsr"])


def test_without_held_out_images_there_is_no_early_stopping(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, validation_split=0, results=tmp_path)
    with pytest.raises(InputError, match="patience needs validation images.*valid: None"):
        experiment.run("Autoencoder", **CONFIGURATIONS["Autoencoder"])

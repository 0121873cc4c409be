"""Every detector runs on every backbone of the registry, and what ran on random weights never counts as a model."""

import pytest
from helpers.data import make_mvtec

from training_code.backbones.registry import BACKBONES
from training_code.comparison.configurations import best_models
from training_code.comparison.table import runs_table
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError

# OpenVINO compiles every backbone for one of them; it gives torch's features, `tests/unit/features/test_runtime.py`.
DETECTORS = {
    "Padim": ("auto", {"n_features": 10}),
    "Patchcore": ("torch", {"coreset_sampling_ratio": 0.2, "num_neighbors": 1}),
    "Cflow": ("torch", {"max_epochs": 1, "coupling_blocks": 1, "fiber_batch_size": 4}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_mvtec(tmp_path_factory.mktemp("data") / "d", train=4, good=2, defective=1)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_detector_runs_on_every_backbone(folder, tmp_path, backbone, detector):
    runtime, arguments = DETECTORS[detector]
    experiment = Experiment(folder, image_size=56, validation_split=0, results=tmp_path, backbone_runtime=runtime)
    run = experiment.run(detector, backbone=backbone, pre_trained=False, **arguments)
    assert run.status == "ok" and {"image_AUROC", "pixel_AUROC"} <= set(run.metrics)
    scores = [line.split(",")[3] for line in (run.folder / "scores.csv").read_text().splitlines()[1:]]
    assert len(scores) == len(set(scores)) == 4  # each image has a score of its own
    assert experiment.best() is None and not experiment.table()["pretrained"].any()
    assert run.record.weights.pretrained is False and run.record.weights.sha256 is None
    assert "the backbone's weights are random" in run._repr_html_()
    table = runs_table([(run.folder, run.record)])
    assert table.loc[0, ["pretrained", "weights"]].tolist() == [False, "random"]
    assert best_models(table).empty


@pytest.mark.parametrize("options", [{"backbone_precision": "bfloat16"}, {"channels_last": True}])
def test_precision_and_memory_format_are_part_of_the_run(folder, tmp_path, options):
    configuration = {"backbone": "resnet18", "pre_trained": False, "n_features": 10}
    options = {"backbone_runtime": "torch"} | options
    plain = Experiment(folder, image_size=64, results=tmp_path, backbone_runtime="torch").run("Padim", **configuration)
    other = Experiment(folder, image_size=64, results=tmp_path, **options).run("Padim", **configuration)
    assert other.run_id != plain.run_id
    assert {name: other.record.identity.compute[name] for name in options} == options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone_precision": "fp8"}, "unknown backbone_precision 'fp8'; valid: float32, bfloat16, float16"),
        ({"channels_last": 1}, "channels_last=1 must be True or False"),
    ],
)
def test_unavailable_precisions_are_refused(folder, options, words):
    with pytest.raises(InputError, match=words):
        Experiment(folder, **options)

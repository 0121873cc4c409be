"""A detector is added by its own folder and one notebook: no other file knows of it."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from training_code.foundation import paths

SPEC = """
from training_code.detectors.arguments import POSITIVE, Argument
from training_code.detectors.spec import DetectorSpec

SPEC = DetectorSpec(
    name="Toy",
    path="training_code.detectors.toy.model:Toy",
    notebook="16_train_toy",
    arguments={"scale": Argument(float, 1.0, POSITIVE)},
    normalizes=False,
    told_by=("scale",),
    paper={"scale": 2.0},
)
"""
MODEL = '''
import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.models.components import AnomalibModule, MemoryBankMixin
from torch import nn


class ToyModel(nn.Module):
    """How far an image is from the mean of the good ones."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.seen = []
        self.register_buffer("mean", torch.empty(0))

    def forward(self, images):
        if self.training:
            self.seen.append(images)
            return images
        maps = self.scale * (images - self.mean).abs().mean(1, keepdim=True)
        return InferenceBatch(pred_score=maps.amax((1, 2, 3)), anomaly_map=maps)


class Toy(MemoryBankMixin, AnomalibModule):
    def __init__(self, scale=1.0, pre_processor=True, post_processor=True, evaluator=True, visualizer=True):
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.model = ToyModel(scale)

    def training_step(self, batch, *_):
        self.model(batch.image)
        return torch.tensor(0.0, requires_grad=True)

    def fit(self):
        self.model.mean = torch.cat(self.model.seen).mean(0)
        self.model.seen = []

    def validation_step(self, batch, *_):
        return batch.update(**self.model(batch.image)._asdict())

    @staticmethod
    def configure_optimizers():
        return None

    @property
    def trainer_arguments(self):
        return {"max_epochs": 1, "devices": 1, "gradient_clip_val": 0}

    @property
    def learning_type(self):
        return LearningType.ONE_CLASS

    def _load_from_state_dict(self, state, prefix, *rest):
        if (mean := state.get(f"{prefix}model.mean")) is not None:
            self.model.mean = torch.empty_like(mean)
        super()._load_from_state_dict(state, prefix, *rest)
'''
PARAMETERS = """
dataset: str = "textures"  # folder in data/
image_size: int = 64  # pixels
seed: int = 42  # of everything
results: str = "results"  # folder for the runs
protocol: dict = {}  # conditions
compute: dict = {}  # options
""".strip()
EXPERIMENT = """
experiment = Experiment(
    dataset, image_size=image_size, seed=seed, results=results, protocol=protocol, compute=compute
)
experiment
""".strip()
SCRIPT = """
import sys
from pathlib import Path

import numpy as np

data, results = map(Path, sys.argv[1:])
from inference_code.loading import load_predictor
from training_code.comparison.configurations import best_models
from training_code.comparison.table import arguments_of, runs_table
from training_code.detectors import Toy
from training_code.experiment import Experiment
from training_code.records.code import code_hash
from training_code.records.reading import read_records
from training_code.sweep.file import read_sweep
from training_code.sweep.plan import Planner, make_plan
from training_code.foundation.errors import InputError

experiment = Experiment(data, image_size=64, results=results)
run = experiment.run(Toy, scale=3.0)
assert run.status == "ok" and run.run_id.startswith("toy-") and run.record.code_sha256 == code_hash("Toy")
try:
    experiment.run("Toy", scale=-1.0)
except InputError as error:
    assert "scale=-1.0 of Toy is out of range; valid: above 0" in str(error)
else:
    raise AssertionError("refused by the specification")
file = results / "toy.yaml"
lines = ["notebooks:", "- notebook: 16_train_toy", "  parameters:", f"    dataset: {data}", f"    results: {results}"]
file.write_text("\\n".join(lines))
jobs = make_plan(read_sweep(file), Planner())
assert [job.arguments for job in jobs] == [{"scale": 1.0}, {"scale": 3.0}]
assert [job.state.value for job in jobs] == ["to run", "stored"], [job.state for job in jobs]
experiment.run("Toy", scale=1.0)
table = runs_table(read_records(results)[0])
assert table["scale"].tolist() == [1.0, 3.0] or table["scale"].tolist() == [3.0, 1.0]
assert "scale" in arguments_of(table)
assert table.set_index("scale")["reduced"].notna().to_dict() == {1.0: True, 3.0: False}
assert "scale" in best_models(table)["configuration"][0]
predictor = load_predictor(run.run_id, results)
image = next((data / "test" / "square").iterdir())
(prediction,) = predictor.predict([image])
scores = dict(line.split(",")[::3] for line in (run.folder / "scores.csv").read_text().splitlines()[1:])
assert np.isclose(prediction.score, float(scores[f"test/square/{image.name}"]))
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of the packages and notebooks, to which the folder and the notebook of a detector are added."""
    root = tmp_path / "checkout"
    for name in ("training_code", "inference_code", "notebooks"):
        shutil.copytree(paths.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = {path.relative_to(root) for path in root.rglob("*")}
    folder = root / "training_code" / "detectors" / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A detector of the tests."""\n')
    (folder / "spec.py").write_text(SPEC)
    (folder / "model.py").write_text(MODEL)
    cells = [
        nbformat.v4.new_code_cell(
            "from training_code.detectors import Toy\nfrom training_code.experiment import Experiment"
        ),
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(EXPERIMENT),
        nbformat.v4.new_code_cell("experiment.run(Toy)"),
        nbformat.v4.new_code_cell("experiment.run(Toy, scale=3.0)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "16_train_toy.ipynb")
    added = {path.relative_to(root) for path in root.rglob("*")} - before
    assert len([path for path in added if (root / path).is_file()]) == 4, "its folder and one notebook"
    return root


def test_a_detector_is_its_folder_and_one_notebook(checkout, tiny_dataset, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", SCRIPT, tiny_dataset, tmp_path / "results"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=checkout, env=environment)
    assert result.returncode == 0, result.stderr

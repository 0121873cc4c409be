"""Every name in the parameters cell of every notebook changes something: a knob that does nothing is a fault.

So does every condition that a sweep file can set in a training notebook, by its own name.

A training notebook is followed up to the call that hands detector and images to anomalib's engine; the other notebooks
run up to the cell that shows the effect. Nothing is trained.
"""

import ast
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from helpers.brightness import Brightness
from helpers.data import make_mvtec
from helpers.repository import project_files
from helpers.results import make_run

from training_code import restoring
from training_code.detectors.build import feature_extractor
from training_code.detectors.registry import get_detector
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256
from training_code.foundation.memory import allowed
from training_code.pipeline import prepare_data
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.records.record import RECORD, CheckpointFile
from training_code.sweep.notebook import PARAMETERS_TAG, TrainingNotebook, read_notebook
from training_code.sweep.parameters import fold, settable
from training_code.training import engine as training

NOTEBOOKS = {path.stem: path for path in project_files("notebooks/*.ipynb")}
EMBEDDED = (None, "efficientnet_lite0")

IDENTITY, FOLDER, WORKERS, LOGS, SHARED = "identity", "folder", "workers", "logs", "shared features"
TRAINED, TESTED, MEMORY_FORMAT = "images trained on at once", "images tested at once", "memory format"
BUDGET = "memory that a run may take"
ASKED = "thresholds that are asked for of a run, which stays the same one"
#: Of the training notebooks and of their protocol and compute, by name: a value that is not the default, and what it
#: changes.
TRAINING = {
    "dataset": ("{other}", IDENTITY),
    "image_size": (96, IDENTITY),
    "seed": (7, IDENTITY),
    "normalization": ("imagenet", IDENTITY),
    "backbone_precision": ("bfloat16", IDENTITY),
    "channels_last": (True, MEMORY_FORMAT),
    "backbone_runtime": ("torch", IDENTITY),
    "feature_store": ("off", SHARED),
    "resize": ("letterbox", IDENTITY),
    "center_crop": (96, IDENTITY),
    "tiling": ({"tile": 128, "overlap": 32}, IDENTITY),
    "validation_split": (0.3, IDENTITY),
    "labelled": (0.5, IDENTITY),
    "labels": (1, IDENTITY),
    "train_images": (5, IDENTITY),
    "augmentation": (["flip"], IDENTITY),
    "contamination": (0.2, IDENTITY),
    "threshold": ("quantile", ASKED),
    "alpha": (0.1, ASKED),
    "area": (0.1, ASKED),
    "train_batch_size": (4, TRAINED),
    "eval_batch_size": (4, TESTED),
    "num_workers": (1, WORKERS),
    "memory_limit": (1.5, BUDGET),
    "tensorboard": ("off", LOGS),
    "results": ("{elsewhere}", FOLDER),
    "width": (0.5, IDENTITY),
    "embedding_dim": (16, IDENTITY),
    "num_embeddings": (64, IDENTITY),
    "codebook_epochs": (2, IDENTITY),
    "latent_dim": (8, IDENTITY),
    "crop_size": (64, IDENTITY),
    "stride": (16, IDENTITY),
    "loss": ("mse", IDENTITY),
    "grayscale": (False, IDENTITY),
    "num_crops": (24, IDENTITY),
    "square_size": (4, IDENTITY),
    "num_squares": (3, IDENTITY),
    "batch_size": (4, IDENTITY),
    "lr": (5e-4, IDENTITY),
    "max_epochs": (3, IDENTITY),
    "epochs": (3, IDENTITY),
    "flow_steps": (3, IDENTITY),
    "hidden_ratio": (0.5, IDENTITY),
    "affine_subnet_channels_ratio": (0.5, IDENTITY),
    "cross_conv_hidden_channels": (32, IDENTITY),
    "flow_feature_dim": (32, IDENTITY),
}

DICTS = ("protocol", "compute")
FIELDS = [*ExperimentProtocol.names(), *ComputeOptions.names()]
_OF_BACKBONES = {"normalization", "backbone_precision", "channels_last", "backbone_runtime"}
#: What a sweep cannot set in a training notebook, because it changes nothing there.
WITHOUT_EFFECT = {
    "10_train_padim": {"tensorboard"},
    "11_train_patchcore": {"tensorboard"},
    "12_train_cflow": set(),
    "13_train_dsr": {"train_batch_size", "feature_store"},
    "14_train_draem": {"train_batch_size", "feature_store", *_OF_BACKBONES},
    "15_train_autoencoders": {"train_batch_size", "feature_store", *_OF_BACKBONES},
    "16_train_with_labels": set(),
    "19_train_foundation": set(),
    "21_train_features": set(),
    "17_train_students": {"train_batch_size"},
    "18_train_flows": {"train_batch_size"},
}

IMAGES, FILES, RUN, BATCHES, OVERLAYS = "images", "files", "run", "batches", "overlays"
SUSPICIOUS = "strange training images"
RUNS, BEST, WORKBOOK = "runs", "best configurations", "workbook"
#: Of the other notebooks.
OTHERS = {
    "00_dataset_check": {"dataset": ("{other}", IMAGES), "suspicious": (3, SUSPICIOUS)},
    "20_inference": {
        "run": ("padim-best", RUN),  # by image_AUROC; by the costs of a line it is padim-other
        "source": ("{other}/test/good", FILES),
        "results": ("{elsewhere}", RUN),
        "dataset": ("boards", RUN),
        "criterion": ("image_AUROC", RUN),
        "batch_size": (3, BATCHES),
        "shown": (2, OVERLAYS),
    },
    "30_results": {
        "results": ("{elsewhere}", RUNS),
        "workbook": ("{tmp}/other.xlsx", WORKBOOK),
        "criterion": ("pixel_AUROC", BEST),
        "datasets": (["boards"], RUNS),
        "seeds": ([1], RUNS),
    },
}
#: What they are given in any case, in place of what lies in the repository.
ELSEWHERE = {
    "00_dataset_check": {"dataset": "{dataset}"},
    "20_inference": {"source": "{dataset}/test", "results": "{tmp}/results"},
    "30_results": {"workbook": "{tmp}/workbook.xlsx", "results": "{tmp}/results"},
}


def _parameters(name: str) -> dict[str, Any]:
    """Return the names in the parameters cell of a notebook with their defaults."""
    cells = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))["cells"]
    (source,) = (cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    found: dict[str, Any] = {}
    exec("".join(source), found)
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _knobs(name: str) -> list[str]:
    """Return what can be set in a notebook; in place of a dict of a training notebook, what a sweep puts into it."""
    own = [parameter for parameter in _parameters(name) if parameter not in DICTS]
    if name in OTHERS:
        return own
    return own + [option for option in FIELDS if option not in own and option not in _without_effect(name)]


def _without_effect(name: str) -> set[str]:
    """Return what a sweep cannot set in a training notebook; copies of images are for what learns in one pass."""
    detectors = {cell.detector for cell in read_notebook(NOTEBOOKS[name]).cells}
    copied = any(get_detector(detector).fits_in_one_pass for detector in detectors)
    return WITHOUT_EFFECT.get(name, set()) | (set() if copied else {"augmentation"})


#: Learning curves are of training in epochs, and what of this notebook is trained so needs weights that are not here.
NEEDS_WEIGHTS = {("19_train_foundation", "tensorboard")}
EVERY = [(name, parameter) for name in NOTEBOOKS for parameter in _knobs(name)]
EVERY = [each for each in EVERY if each not in NEEDS_WEIGHTS]


@dataclass
class Given:
    """Folders that the tests share, and what was already seen of notebooks with their defaults."""

    tmp: Path
    dataset: Path
    seen: dict[Any, Any] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """Return ``value`` with the names of folders filled in."""
        tmp = self.tmp
        folders = {"tmp": tmp, "dataset": self.dataset, "other": tmp / "other", "elsewhere": tmp / "elsewhere"}
        return value.format(**folders) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def given(tmp_path_factory, tiny_dataset) -> Given:
    """A second dataset of other images, and two folders of runs."""
    tmp = tmp_path_factory.mktemp("given")
    make_mvtec(tmp / "other", train=10, good=2)
    checkpoint = tmp / "model.ckpt"
    torch.save({"state_dict": {}}, checkpoint)
    common = {"weights": None, "checkpoint": CheckpointFile(sha256(checkpoint), checkpoint.stat().st_size)}
    for folder, run, features, seed, dataset, image, pixel in (
        ("results", "padim-best", 20, 0, "textures", 0.9, 0.6),
        ("results", "padim-again", 20, 1, "textures", 0.8, 0.6),
        ("results", "padim-other", 10, 0, "textures", 0.7, 0.7),
        ("results", "padim-boards", 20, 0, "boards", 0.6, 0.5),
        ("elsewhere", "padim-elsewhere", 20, 0, "textures", 0.9, 0.6),
    ):
        arguments = {"backbone": "resnet18", "layers": ["layer1"], "n_features": features}
        metrics = {"image_AUROC": image, "image_F1Score": 0.5, "pixel_AUROC": pixel, "pixel_F1Score": 0.5}
        make_run(tmp / folder, run, seed=seed, dataset=dataset, arguments=arguments, metrics=metrics, **common)
        shutil.copy(checkpoint, tmp / folder / "runs" / run)
    return Given(tmp, tiny_dataset)


@pytest.mark.parametrize(("name", "parameter"), EVERY, ids=[f"{name}-{parameter}" for name, parameter in EVERY])
def test_a_parameter_changes_the_run_or_what_is_shown(name, parameter, given, monkeypatch):
    table = OTHERS.get(name, TRAINING)
    if parameter not in table:
        pytest.fail(f"{parameter} of {name}: say what it changes, in the table of {Path(__file__).name}")
    other, what = table[parameter]
    other = given.fill(other)
    assert other != _parameters(name).get(parameter)
    look = _look_at_training if table is TRAINING else _look_at_other
    key = (name, what)
    if key not in given.seen:
        given.seen[key] = look(name, {}, what, given, monkeypatch)
    before, after = given.seen[key], look(name, {parameter: other}, what, given, monkeypatch)
    changed = any(before[shown] != after[shown] for shown in after)
    assert changed, f"{parameter}={other!r} changes nothing of {name}: {what} stays {before}"


TRAINING_NOTEBOOKS = sorted(NOTEBOOKS.keys() - OTHERS.keys())
#: What stands in ``protocol`` where a notebook is for other conditions than the defaults.
PROTOCOLS = {"16_train_with_labels": {"labelled": 0.3}}


@pytest.mark.parametrize("name", TRAINING_NOTEBOOKS)
def test_a_sweep_file_reaches_every_condition_that_changes_something(name):
    reached = set(settable(read_notebook(NOTEBOOKS[name])))
    assert set(FIELDS) - reached == _without_effect(name)


@pytest.mark.parametrize("name", TRAINING_NOTEBOOKS)
def test_what_a_researcher_sets_comes_first_and_the_rest_is_empty(name):
    parameters = _parameters(name)
    assert list(parameters)[:6] == ["dataset", "image_size", "seed", "results", "protocol", "compute"]
    assert parameters["protocol"] == PROTOCOLS.get(name, {}) and parameters["compute"] == {}
    arguments = {name for cell in read_notebook(NOTEBOOKS[name]).cells for name in cell.arguments}
    assert set(list(parameters)[6:]) <= arguments, "the others are arguments that configurations share"


@pytest.mark.parametrize("name", TRAINING_NOTEBOOKS)
def test_parameters_are_typed_and_explained_in_a_comment(name):
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    (source,) = (cell.source for cell in cells if PARAMETERS_TAG in cell.metadata.get("tags", []))
    for line in source.splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool|dict) = [^#]+  # \S.*", line), line


@pytest.mark.parametrize("name", TRAINING_NOTEBOOKS)
def test_the_index_shows_the_parameters_that_all_have(name):
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    (source,) = (cell.source for cell in cells if PARAMETERS_TAG in cell.metadata.get("tags", []))
    index = NOTEBOOKS[name].with_name("README.md").read_text(encoding="utf-8")
    lines = source.splitlines()[:6]
    own = lines[4] if name in PROTOCOLS else ""
    shown = next(line for line in index.splitlines() if line.startswith("protocol: dict")) if own else lines[4]
    assert "\n".join(["```python", *lines[:4], shown, lines[5], "```"]) in index
    assert own.split("  #")[0] in index


@pytest.mark.parametrize("name", TRAINING_NOTEBOOKS)
def test_eight_statements_at_most_stand_before_the_first_configuration(name):
    notebook = read_notebook(NOTEBOOKS[name])
    before = notebook.content.cells[: notebook.cells[0].index]
    sources = [cell.source for cell in before if cell.cell_type == "code" and not cell.metadata.get("tags")]
    assert sum(len(ast.parse(source).body) for source in sources) <= 8


def test_how_a_backbone_computes_makes_no_other_run_of_a_detector_without_one(given):
    options = {"backbone_precision": "bfloat16", "channels_last": True, "backbone_runtime": "torch"}
    first, second = (Experiment(given.dataset, image_size=128, **more) for more in ({}, options))
    for detector, arguments in (("Draem", {}), ("Autoencoder", {"crop_size": 32, "stride": 32})):
        assert first.prepare(detector, arguments).run_id == second.prepare(detector, arguments).run_id


# Training notebooks


class _HandedOverError(Exception):
    """Ends a run where its training would begin, with what anomalib's engine was given."""


class _Engine:
    """Stands for anomalib's engine, and trains nothing."""

    def __init__(self, logger: Any, **_: Any) -> None:
        self.logger = logger

    def fit(self, detector: Any, loader: Any, validation: Any = None, **_: Any) -> None:
        raise _HandedOverError(SimpleNamespace(logger=self.logger, detector=detector, loader=loader, allowed=allowed()))


def _look_at_training(name: str, changed: dict, what: str, given: Given, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Return by configuration that can run here what a parameter is said to change."""
    notebook = read_notebook(NOTEBOOKS[name])
    common = {"dataset": str(given.dataset), "results": str(given.tmp / "trained")}
    parameters = notebook.parameters | fold(notebook, common | changed)
    experiment = Experiment(**notebook.evaluate(notebook.experiment, parameters))
    found: dict[int, object] = {}
    for index, (detector, arguments) in enumerate(_configurations(notebook, parameters, what)):
        try:
            run_id = experiment.prepare(detector, arguments).run_id
        except InputError:  # says enough itself; of the others one has to change
            continue
        if what == ASKED:
            found[index] = [getattr(experiment.protocol, field) for field in ExperimentProtocol.afterwards()]
            assert run_id == given.seen.setdefault((name, index), run_id), "thresholds make no other run"
            continue
        if what in (IDENTITY, TESTED):
            tested = prepare_data(experiment.conditions).test_dataloader().batch_size
            found[index] = run_id if what == IDENTITY else tested
            continue
        handed = _start(experiment, detector, arguments, monkeypatch)
        written = list(given.tmp.glob(f"*/runs/{run_id}/{RECORD}"))
        found[index] = written if what == FOLDER else HANDED[what](handed)
        for record in written:
            record.unlink()
    assert found, f"all configurations of {name} refuse {changed}"
    return found


def _configurations(notebook: TrainingNotebook, parameters: dict, what: str) -> list[tuple[str, dict]]:
    """Return the configurations whose weights are always there; of those that compute alike the first.

    Where identities are looked at these are all of them, and where logs are, those that train in epochs come first.
    """
    found = [(cell.detector, notebook.evaluate(cell.arguments, parameters)) for cell in notebook.cells]
    found = [(detector, arguments) for detector, arguments in found if arguments.get("backbone") in EMBEDDED]
    if what == LOGS:
        found.sort(key=lambda each: get_detector(each[0]).epochs is None)
    first = {arguments.get("backbone"): (detector, arguments) for detector, arguments in reversed(found)}
    return found if what == IDENTITY else list(first.values())


def _start(experiment: Experiment, detector: str, arguments: dict, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Run a configuration up to where anomalib's engine takes over; return what that is given."""
    monkeypatch.setattr(training, "Engine", _Engine)
    monkeypatch.setattr("training_code.codebooks.provide_codebook", lambda *_: {})
    with pytest.raises(_HandedOverError) as ended:
        experiment.run(detector, rerun=True, **arguments)
    return ended.value.args[0]


def _features_kept(handed: SimpleNamespace) -> int:
    """Return of how many images of a batch the features are looked up and kept."""
    extractor = feature_extractor(handed.detector)
    if extractor is None or extractor.store is None:
        return 0
    extractor.runtime = "torch"  # nothing is compiled for one batch
    batch = next(iter(handed.loader))
    extractor(handed.detector.pre_processor.transform(batch.image))
    return extractor.store.hits + extractor.store.misses


HANDED = {
    WORKERS: lambda handed: handed.loader.num_workers,
    TRAINED: lambda handed: handed.loader.batch_size,
    MEMORY_FORMAT: lambda handed: (extractor := feature_extractor(handed.detector)) and extractor.channels_last,
    LOGS: lambda handed: bool(handed.logger),
    BUDGET: lambda handed: handed.allowed,
    SHARED: _features_kept,
}


# The other notebooks


# Where the effect shows: what the cell holds that shows it, and what to look at of its names and of what it displays.
SEEN = {
    IMAGES: ("examine(", lambda names, shown: shown.data),
    SUSPICIOUS: ("find_suspicious(", lambda names, shown: len(names["found"].shown)),
    FILES: ("find_files(", lambda names, shown: names["files"]),
    RUN: ("load_predictor(", lambda names, shown: names["predictor"].record.run_id),
    BATCHES: ("predictor.predict(", lambda names, shown: names["predictor"].detector.batches),
    OVERLAYS: ("draw_overlays(", lambda names, shown: sum(bool(axis.get_title()) for axis in shown.axes)),
    RUNS: ("choose_runs(", lambda names, shown: sorted(names["table"]["run_id"])),
    BEST: ("summary(", lambda names, shown: shown.data["configuration"].tolist()),
    WORKBOOK: ("write_workbook(", lambda names, shown: names["workbook"] if Path(names["workbook"]).exists() else None),
}


def _look_at_other(name: str, changed: dict, what: str, given: Given, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Run the cells of a notebook up to the one that shows the effect; return what is seen there, by its name."""
    monkeypatch.setattr(restoring, "build_detector", lambda *_: Brightness())
    monkeypatch.setattr(restoring, "_network", lambda *_: None)
    names: dict[str, Any] = {}
    mark, look = SEEN[what]
    for cell in nbformat.read(NOTEBOOKS[name], as_version=4).cells:
        if cell.cell_type == "code":
            shown = _execute(cell.source, names)
            if PARAMETERS_TAG in cell.metadata.get("tags", []):
                names |= {key: given.fill(value) for key, value in ELSEWHERE[name].items()} | changed
            if mark in cell.source:
                return {what: look(names, shown)}
    raise AssertionError(f"no cell of {name} holds {mark}")


def _execute(source: str, names: dict[str, Any]) -> object:
    """Run the source of a cell; return the value of its last line, as a notebook shows it."""
    tree = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%")))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None

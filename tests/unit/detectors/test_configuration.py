import enum
import inspect
import json
import subprocess
import sys
import typing
from collections.abc import Sequence

import anomalib.models
import numpy as np
import pytest

from training_code.backbones.registry import BACKBONES
from training_code.detectors import Cflow, Padim, Patchcore
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import InputError

ANOMALIBS = [name for name, spec in DETECTORS.items() if spec.plain]
# What anomalib's classes do not have; without them ours do as anomalib's.
OURS = {
    "Padim": {"trim": 0.0},
    "Patchcore": {
        "projection": None,
        "coreset": "auto",
        "coreset_size": None,
        "neighbors": "exact",
        "reduce": None,
        "denoise": 0.0,
    },
    "Cflow": {"fiber_sampling_ratio": 1.0},
    "Dsr": {
        "backbone": None,
        "layers": None,
        "pre_trained": True,
        "embedding_dim": 128,
        "num_embeddings": 4096,
        "codebook": None,
        "codebook_epochs": 20,
        "lr": 2e-4,
        "weight_decay": 0.0,
        "width": 1.0,
    },
    "Draem": {"anomaly_source_path": None, "lr": 1e-4, "width": 1.0},
    "Supersimplenet": {"pre_trained": True, "lr": 2e-4, "width": 1.0, "relative_noise": None},
    "Dinomaly": {"pre_trained": True, "lr": 2e-3},
    "InpFormer": {"pre_trained": True, "lr": 1e-3},
    "GeneralAD": {},
    "FoundAD": {"layers": None, "pre_trained": True},
}


def test_what_has_a_name_of_anomalibs_can_become_a_checkpoint_of_its_class():
    assert [name for name in DETECTORS if hasattr(anomalib.models, name)] == ANOMALIBS


@pytest.mark.parametrize("name", ANOMALIBS)
def test_arguments_and_defaults_are_anomalibs(name):
    cls, theirs = DETECTORS[name].load(), getattr(anomalib.models, name)
    assert issubclass(cls, theirs)
    plain = DETECTORS[name].plain
    called = {theirs: own for own, theirs in plain.renamed.items()}
    own = inspect.signature(cls).parameters
    expected = {called.get(each, each): given for each, given in inspect.signature(theirs).parameters.items()}
    added = {argument: parameter.default for argument, parameter in own.items() if argument not in expected}
    assert added == OURS.get(name, added) and set(plain.renamed) <= set(own) - set(added)
    # Folders of images that anomalib's constructor wants and would fill by a download.
    left_out = set(expected) - set(own)
    assert left_out <= {*plain.folders, *plain.decided}
    assert [argument for argument in own if argument not in added] == [each for each in expected if each in own]
    for argument in set(own) - set(added):
        found, wanted = own[argument].default, expected[argument].default
        found = plain.values[argument](found) if argument in plain.values else found
        if argument in plain.defaults:
            assert found != wanted == plain.defaults[argument], "what differs is said"
            continue
        # The registry's name of a network says which weights of timm's it has.
        assert found == wanted or (found in BACKBONES and BACKBONES[found].pretrained == wanted), argument


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_checked_and_what_the_papers_have_are_arguments(name):
    spec, arguments = DETECTORS[name], configure(name, {}).arguments
    assert {*spec.paper, *spec.told_by} <= set(arguments)
    assert all(arguments[argument] >= value for argument, value in spec.paper.items()), "defaults are the paper's"


@pytest.mark.parametrize("name", DETECTORS)
def test_the_arguments_of_a_specification_are_those_of_the_class(name):
    spec = DETECTORS[name]
    parameters = inspect.signature(spec.load().__init__).parameters
    hints = typing.get_type_hints(spec.load().__init__)
    decided = {"self", "pre_processor", "post_processor", "evaluator", "visualizer"}
    expected = {argument: parameter for argument, parameter in parameters.items() if argument not in decided}
    assert list(spec.arguments) == list(expected)
    for argument, parameter in expected.items():
        default = parameter.default.value if isinstance(parameter.default, enum.Enum) else parameter.default
        default = list(default) if isinstance(default, tuple) else default
        assert spec.arguments[argument].default == default and _plain(hints[argument]) == _plain(
            spec.arguments[argument].type
        ), argument


def _plain(hint):
    """Return the names of the plain types that a hint is made of: records hold no enumerations and no tuples."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (list, Sequence):
        return {f"list of {'/'.join(sorted(_plain(parts[0])))}"}
    if parts:
        return set().union(*map(_plain, parts))
    return {"str"} if isinstance(hint, type) and issubclass(hint, enum.Enum) else {hint.__name__}


def test_a_specification_is_imported_without_deep_learning_libraries():
    code = "import sys; import training_code.detectors.registry as r; print(len(r.DETECTORS), 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=paths.ROOT)
    assert result.stdout.split() == [str(len(DETECTORS)), "False"], result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"beta": [0.5, 0.2]}, "valid: a number from 0 to 1, or two of them, the smaller first"),
        ({"beta": 1.5}, "valid: a number from 0 to 1"),
        ({"beta": "much"}, "beta='much' of Draem has a wrong type; valid: float or list of float"),
        ({"dtd_dir": "d"}, "unknown argument of Draem 'dtd_dir'"),
    ],
)
def test_blending_is_a_number_or_a_range(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("Draem", arguments)
    assert configure("Draem", {"beta": (0.2, 0.5)}).arguments["beta"] == [0.2, 0.5]


def test_defaults_are_filled_in():
    assert configure(Patchcore, {"backbone": "resnet18"}).arguments == {
        "backbone": "resnet18",
        "layers": ["layer2", "layer3"],
        "coreset_sampling_ratio": 0.1,
        "num_neighbors": 9,
        "pre_trained": True,
        "precision": "float32",
        "projection": None,
        "coreset": "auto",
        "coreset_size": None,
        "neighbors": "exact",
        "reduce": None,
        "denoise": 0.0,
    }
    cflow = configure(Cflow, {}).arguments
    assert cflow["max_epochs"] == 30 and cflow["patience"] is None


@pytest.mark.parametrize(
    ("backbone", "n_features"), [("resnet18", 100), ("wide_resnet50_2", 550)], ids=["resnet18", "wide_resnet50_2"]
)
def test_padim_keeps_the_papers_number_of_features(backbone, n_features):
    assert configure(Padim, {"backbone": backbone}).arguments["n_features"] == n_features


def test_anomalibs_class_ours_and_the_name_mean_the_same():
    assert configure(anomalib.models.Patchcore, {}) == configure(Patchcore, {}) == configure("Patchcore", {})


def test_layers_are_recorded_under_their_own_names():
    arguments = {"backbone": "efficientnet_b7", "layers": ["features.4", "features.6"], "n_features": 300}
    assert configure(Padim, arguments).layers == ["blocks.3", "blocks.5"]


@pytest.mark.parametrize(
    ("detector", "arguments", "words"),
    [
        (Padim, {"backbone": "resnet18", "n_features": 449}, "n_features=449 .*448 channels, valid: 1 to 448"),
        (Padim, {"n_features": 0}, "n_features=0 of Padim is out of range; valid: at least 1"),
        (Padim, {"n_features": True}, "n_features=True of Padim has a wrong type; valid: int or None"),
        (Padim, {"layers": "layer1"}, "layers='layer1' of Padim has a wrong type; valid: list of str"),
        (
            Padim,
            {"max_epochs": 3},
            "unknown argument of Padim 'max_epochs'; valid: backbone, layers, pre_trained, n_features",
        ),
        (Patchcore, {"coreset_sampling_ration": 0.1}, r"\(did you mean 'coreset_sampling_ratio'\?\)"),
        (Patchcore, {"coreset_sampling_ratio": 1.5}, "out of range; valid: above 0 and at most 1"),
        (Patchcore, {"coreset_sampling_ratio": float("nan")}, "wrong type; valid: float"),
        (Patchcore, {"num_neighbors": 2.5}, "num_neighbors=2.5 of Patchcore has a wrong type; valid: int"),
        (Patchcore, {"precision": "bfloat16"}, "valid: one of float32, float16"),
        (Patchcore, {"neighbors": "faiss"}, "neighbors='faiss' of Patchcore is out of range; valid: one of exact"),
        (Patchcore, {"reduce": 0}, "reduce=0 of Patchcore is out of range; valid: at least 1"),
        (Patchcore, {"backbone": "resnet18", "reduce": 384}, "have 384 channels, valid: 1 to 383, or None"),
        (Cflow, {"max_epochs": 0}, "max_epochs=0 of Cflow is out of range; valid: at least 1"),
        (Cflow, {"condition_vector": 30}, "valid: a positive multiple of 4"),
        (anomalib.models.VlmAd, {}, "unknown detector 'VlmAd'; valid: Padim, Patchcore, Cflow"),
        (dict, {}, "unknown detector 'dict'"),
    ],
)
def test_wrong_configurations_are_refused_with_the_valid_choices(detector, arguments, words):
    with pytest.raises(InputError, match=words):
        configure(detector, arguments)


def test_values_that_mean_the_same_are_recorded_alike():
    alike = [
        {"coreset_sampling_ratio": 1, "num_neighbors": 3, "layers": ["layer1"]},
        {"coreset_sampling_ratio": 1.0, "num_neighbors": np.int64(3), "layers": ("layer1",)},
        {"coreset_sampling_ratio": np.float32(1), "num_neighbors": np.uint8(3), "layers": ["layer1"]},
    ]
    texts = {json.dumps(configure(Patchcore, arguments).arguments) for arguments in alike}
    assert len(texts) == 1 and '"coreset_sampling_ratio": 1.0' in texts.pop()

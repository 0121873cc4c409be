"""The conditions of a run: checked when they are given, and listed in one place."""

import dataclasses
import os
import subprocess
import sys

import pytest

from training_code import protocol
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.protocol import ComputeOptions, ExperimentProtocol, read_options


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image_size": 16}, "image_size=16 is out of range; valid: a whole number 32 to 8192"),
        ({"image_size": (1, 2, 3)}, "image_size=(1, 2, 3) must be one number, or height and width"),
        ({"image_size": True}, "image_size=True is out of range"),
        ({"resize": "fit"}, "unknown resize 'fit'; valid: stretch, letterbox, crop"),
        ({"image_size": 64, "center_crop": 96}, "center_crop=96 × 96 is larger than image_size=64 × 64"),
        ({"center_crop": 16}, "center_crop=16 is out of range; valid: a whole number 32 to 8192"),
        ({"validation_split": 0.6}, "validation_split=0.6 is out of range; valid: 0 to 0.5"),
        ({"validation_split": False}, "validation_split=False is out of range"),
        ({"normalization": "image_net"}, "unknown normalization 'image_net' (did you mean 'imagenet'?)"),
        ({"channels_last": 1}, "channels_last=1 must be True or False"),
        ({"backbone_precision": "half"}, "valid: float32, bfloat16, float16"),
        ({"backbone_runtime": "openvino", "backbone_precision": "float16"}, "'openvino' does not compute in float16"),
        ({"train_batch_size": 0}, "train_batch_size=0 is out of range; valid: a whole number 1 to inf"),
        ({"tiling": 512}, "tiling=512 must be None, or have tile and overlap, as in {tile: 512, overlap: 64}"),
        ({"tiling": {"tile": 512}}, "must be None, or have tile and overlap"),
        ({"tiling": {"tile": 16, "overlap": 4}}, "tiling: tile=16 is out of range; valid: a whole number 32 to 8192"),
        (
            {"tiling": {"tile": (64, 128), "overlap": 64}},
            "tiling: overlap=64 is out of range; valid: a whole number 0 to 63",
        ),
        (
            {"image_size": (512, 256), "tiling": {"tile": 512, "overlap": 64}},
            "tiling: tile=512 × 512 is larger than image_size=512 × 256; valid: up to that",
        ),
        (
            {"image_size": 1024, "center_crop": 384, "tiling": {"tile": 512, "overlap": 64}},
            "tiling: tile=512 × 512 is larger than center_crop=384 × 384; valid: up to that",
        ),
        ({"imagesize": 64}, "unknown argument of Experiment 'imagesize' (did you mean 'image_size'?)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_one_sentence_with_the_valid_choices(given, words):
    with pytest.raises(InputError) as found:
        read_options(given, {}, {})
    assert words in str(found.value)


def test_options_are_given_on_their_own_or_as_mappings_but_not_twice():
    one = read_options({"image_size": 64, "num_workers": 2}, {}, {})
    assert one == read_options({}, {"image_size": (64, 64)}, {"num_workers": 2})
    with pytest.raises(InputError, match="image_size is given twice"):
        read_options({"image_size": 64}, {"image_size": 64}, {})
    with pytest.raises(InputError, match="unknown key of protocol 'num_workers'; valid: image_size"):
        read_options({}, {"num_workers": 2}, {})
    with pytest.raises(InputError, match="protocol=3 must be a mapping"):
        read_options({}, 3, {})


def test_tiles_are_columns_of_the_tables_and_leave_no_trace_where_there_are_none():
    tiled = ExperimentProtocol(image_size=1024, tiling={"tile": 512, "overlap": 64})
    assert tiled == ExperimentProtocol(image_size=1024, tiling=tiled.tiling) and hash(tiled)
    row = tiled.row()
    assert (row["tile"], row["tile_overlap"]) == (512, 64)
    assert tiled.identifying["tiling"] == {"tile": (512, 512), "overlap": 64}
    assert (tiled.tiles, tiled.network_size) == (9, (512, 512)), "tiles begin at 0, 448 and 512"
    whole = ExperimentProtocol(image_size=1024)
    assert "tiling" not in whole.identifying and whole.row()["tile"] is whole.row()["tile_overlap"] is None
    assert (whole.tiles, whole.network_size) == (1, (1024, 1024))


def test_tiles_are_cut_from_what_center_crop_leaves_of_the_resized_photograph():
    both = ExperimentProtocol(image_size=1024, center_crop=(768, 512), tiling={"tile": 512, "overlap": 64})
    assert (both.seen_size, both.network_size, both.tiles) == ((768, 512), (512, 512), 2), "tiles begin at 0 and 256"
    cut = ExperimentProtocol(image_size=1024, center_crop=(768, 512))
    assert (cut.seen_size, cut.network_size, cut.tiles) == ((768, 512), (768, 512), 1)
    assert both.row()["center_crop"] == "768 × 512" and both.row()["tile"] == 512


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExperimentProtocol().image_size = (64, 64)


def test_a_new_option_is_one_field(monkeypatch):
    added = ("gamma", int, protocol.option(0, protocol.at_least(0), needs="backbone"))
    larger = dataclasses.make_dataclass("ComputeOptions", [added], bases=(ComputeOptions,), frozen=True)
    monkeypatch.setattr(protocol, "ComputeOptions", larger)
    assert read_options({"gamma": 2}, {}, {})[1].gamma == 2
    assert larger(gamma=2).deciding_about(backbone=True, gpu=False)["gamma"] == 2
    with pytest.raises(InputError, match="gamma=-1 is out of range"):
        read_options({}, {}, {"gamma": -1})


# Runs before anything else is imported: whatever goes over the fields goes over this one, too.
ANOTHER_FIELD = """
import dataclasses, sys
from pathlib import Path
from training_code import protocol
field = ("gamma", int, protocol.option(1, protocol.at_least(1)))
protocol.ExperimentProtocol = dataclasses.make_dataclass(
    "ExperimentProtocol", [field], bases=(protocol.ExperimentProtocol,), frozen=True
)
from helpers.results import make_run
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.table import runs_table
from training_code.records.reading import read_records
from training_code.reporting.sheets import all_sheets, compare
results = Path(sys.argv[1])
ids = {
    make_run(results, f"r{tiles}", identity={"gamma": tiles}, metrics={"image_AUROC": tiles / 4}).identity.run_id
    for tiles in (1, 2)
}
runs, problems = read_records(results)
assert len(ids) == 2 and not problems, "it is part of the identity, and is read again"
table = runs_table(runs)
assert table["gamma"].tolist() == [1, 2]
found = compare(table, problems, "image_AUROC")
sheets = {sheet.name: sheet.table for sheet in all_sheets(found, results)}
assert "gamma" in sheets["All runs"]
protocols = sheets["Best models"]["protocol"].tolist()
assert len(protocols) == 2 and "gamma 2" in " ".join(protocols), "never ranked together"
effect = effects_of_arguments(table, "image_AUROC").set_index("value").loc[2]
assert (effect["argument"], effect["difference"]) == ("gamma", 0.25)
"""


@pytest.mark.slow
def test_a_new_condition_is_one_field_and_appears_in_identity_workbook_and_effects(tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{paths.ROOT}{os.pathsep}{paths.ROOT / 'tests'}"}
    command = [sys.executable, "-c", ANOTHER_FIELD, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, env=environment)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("given", "backbone", "gpu", "expected"),
    [
        ({}, False, False, {}),
        ({"channels_last": True, "backbone_precision": "bfloat16"}, False, True, {}),
        ({}, True, False, {"backbone_precision": "float32", "backbone_runtime": "openvino"}),
        (
            {"backbone_runtime": "openvino"},
            True,
            True,
            {"backbone_precision": "float32", "backbone_runtime": "openvino"},
        ),
        ({}, True, True, {"backbone_precision": "float32", "channels_last": False, "backbone_runtime": "torch"}),
        (
            {"backbone_precision": "float16", "channels_last": True, "eval_batch_size": 3, "train_batch_size": 5},
            True,
            False,
            {"backbone_precision": "float16", "channels_last": True, "backbone_runtime": "torch"},
        ),
    ],
)
def test_only_what_is_used_decides_about_a_run(given, backbone, gpu, expected):
    assert ComputeOptions(**given).deciding_about(backbone, gpu) == expected


def test_the_conditions_are_imported_without_deep_learning_libraries():
    code = "import sys, training_code.protocol; print('torch' in sys.modules, 'pandas' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=paths.ROOT)
    assert result.stdout.split() == ["False", "False"], result.stderr

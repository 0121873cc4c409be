"""The sheet Speed and size tells what a file of 8-bit integers costs and loses, beside the run that it is of."""

import dataclasses
import json

import pytest
from helpers.results import DETECTORS, make_run

from training_code.comparison.configurations import configurations
from training_code.comparison.costs import speed_and_size
from training_code.comparison.table import runs_table
from training_code.records.exports import Measured, read_measured
from training_code.records.reading import read_records

MEASURED = Measured("openvino", 110, 70, "test images of plates", 3, 1, 0.91, 0.92, 0.002, 0.004, 5_000, 20_000, 1)


def _describe(folder, name, content):
    (folder / "exports").mkdir(exist_ok=True)
    (folder / "exports" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def run(tmp_path):
    """The folder of a run that was exported in 8-bit integers; another run was not."""
    for features in (100, 200):
        make_run(tmp_path, f"r{features}", arguments=DETECTORS["Padim"] | {"n_features": features})
    folder = tmp_path / "runs" / "r100"
    _describe(folder, "model.int8.xml", {"measured": dataclasses.asdict(MEASURED)})
    return folder


def test_the_row_of_a_run_has_latency_bytes_and_loss_of_its_file_of_8_bit_integers(run):
    _describe(run, "model.xml", {"difference": {"score": 1e-6}})
    models = configurations(runs_table(read_records(run.parents[1])[0]), "image_AUROC")
    table = speed_and_size(models, "image_AUROC")
    rows = table.set_index("run_id")
    row = rows.loc[run.name]
    assert (row["openvino_int8_latency_s"], row["openvino_float32_latency_s"]) == (0.002, 0.004)
    assert (row["openvino_int8_bytes"], row["openvino_float32_bytes"]) == (5_000, 20_000)
    assert (row["openvino_int8_image_AUROC"], row["openvino_float32_image_AUROC"]) == (0.91, 0.92)
    assert (row["openvino_int8_labels_changed"], row["openvino_int8_labels_judged"]) == (3, 110)
    assert rows.drop(run.name)["openvino_int8_bytes"].isna().all(), "another run has no such file"
    assert not [name for name in table if name.startswith("onnx_")]


def test_a_damaged_description_takes_no_number_into_the_workbook(run):
    (run / "exports" / "model.int8.onnx.json").write_text("{")
    _describe(run, "other", {"measured": {"format": "onnx", "bytes": "many"}})
    assert read_measured(run) == [MEASURED]


@pytest.mark.parametrize(
    "changes", [{"format": "=HYPERLINK()"}, {"bytes": -1}, {"images": True}, {"auroc": 1.5}, {"latency_s": -0.1}]
)
def test_numbers_of_strangers_that_no_file_can_have_are_left_out(run, changes):
    _describe(run, "other", {"measured": dataclasses.asdict(MEASURED) | changes})
    assert read_measured(run) == [MEASURED]


def test_a_description_of_strangers_that_is_nested_deeply_does_not_end_a_comparison(run):
    (run / "exports" / "other.json").write_text("[" * 100_000)
    assert read_measured(run) == [MEASURED]


def test_the_loss_is_told_in_one_sentence():
    assert MEASURED.sentence == (
        "on 110 test images of plates: 3 labels are other ones, 1 at thresholds by the same good images, "
        "image_AUROC 0.9200 → 0.9100; 4.00 → 2.00 ms an image with 1 thread, 20,000 → 5,000 bytes"
    )

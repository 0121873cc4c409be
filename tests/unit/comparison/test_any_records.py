"""Whatever the records hold: every sheet, figure and export can be made, and no value is dropped or mixed up."""

import ast
import io
import math
import shutil
import tempfile
from pathlib import Path

import nbformat
import openpyxl
import pandas as pd
import pytest
from helpers.records import RANDOM
from helpers.results import DEMO, DETECTORS, make_demo, make_labelled, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from training_code.comparison.configurations import configurations
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.table import PROTOCOL, runs_table
from training_code.foundation import paths
from training_code.records.metrics import METRICS
from training_code.records.reading import read_records
from training_code.records.record import Calibrated, OnLabels
from training_code.reporting.export import FORMATS, export
from training_code.reporting.figures import draw_hyper_parameters
from training_code.reporting.sheets import all_sheets, compare, summary
from training_code.reporting.workbook import write_workbook

MIXED = (None, True, False, 1, 2, 1.5, 1e-7, "AE", "none", "", ["layer1"], ["layer1", "layer2"], [])
DSR = {"layers": None, "max_epochs": 5}
FEW = DEMO[5:8]  # CFlow, and DSR with and without a backbone
GOOD_ONLY = {"types": ("good",)}
NO_MASKS = {
    "metrics": {"image_AUROC": 0.75, "image_F1Score": 0.5},
    "by_defect_type": {"hole": {"images": 7, "image_AUROC": 0.75}},
}


def _dsr(results: Path, backbones=(None, "efficientnet_lite0")) -> None:
    for number, backbone in enumerate(backbones):
        arguments = DSR | {"backbone": backbone, "layers": ["block2"] if backbone else None}
        make_run(results, f"dsr-{number}", "Dsr", arguments=arguments, metrics={"image_AUROC": 0.6 + number / 10})


def _mixed(results: Path) -> None:
    for number, value in enumerate(MIXED):
        make_run(results, f"r{number}", "Cflow", arguments=DETECTORS["Cflow"] | {"max_epochs": value})


def _table(results: Path) -> pd.DataFrame:
    return runs_table(read_records(results)[0])


# ---------------------------------------------------------------------------------------------- what is said is right


def test_a_detector_with_and_without_a_backbone_can_be_compared(tmp_path):
    _dsr(tmp_path)
    effects = effects_of_arguments(_table(tmp_path), "image_AUROC")
    assert effects[["argument", "value", "reference"]].values.tolist() == [
        ["backbone", "none", "none"],
        ["backbone", "efficientnet_lite0", "none"],
    ]
    assert effects["difference"][1] == pytest.approx(0.1) and effects["pairs"].tolist() == [1, 1]


def test_the_effect_of_a_backbone_is_not_mixed_with_that_of_the_normalization(tmp_path):
    for backbone, mode in ((None, "none"), ("resnet18", "backbone"), ("resnet50", "imagenet")):
        identity = {} if backbone is None else {"normalization": mode}
        make_run(tmp_path, f"dsr-{mode}", "Dsr", arguments=DSR | {"backbone": backbone}, identity=identity)
    assert effects_of_arguments(_table(tmp_path), "image_AUROC").empty, "which of the two made the difference?"


def test_the_heat_map_shows_a_detector_without_its_backbone_beside_it(tmp_path):
    _dsr(tmp_path)
    axis = draw_hyper_parameters(_table(tmp_path), "image_AUROC").axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["none", "efficientnet_lite0"]


def test_equal_looking_values_of_different_types_are_different_settings(tmp_path):
    for number, value in enumerate([None, "none", True, 1, "1"]):
        arguments = DETECTORS["Padim"] | {"n_features": value}
        make_run(tmp_path, f"r{number}", arguments=arguments, metrics={"image_AUROC": 0.5 + number / 10})
    effects = effects_of_arguments(_table(tmp_path), "image_AUROC")
    assert effects["image_AUROC"].round(6).tolist() == [0.5, 0.7, 0.8, 0.9, 0.6], "None, True, 1, '1', 'none'"
    assert effects["difference"].round(6).tolist()[1:] == [0.2, 0.3, 0.4, 0.1]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("channels_last", (False, True)),
        ("backbone_precision", ("float32", "bfloat16")),
        ("backbone_runtime", ("openvino", "torch")),
        ("normalization", ("backbone", "imagenet")),
        ("validation_split", (0.1, 0.2)),
    ],
)
def test_the_effect_of_an_argument_is_not_mixed_with_that_of_a_setting_of_the_experiment(tmp_path, name, values):
    for number, value in enumerate(values):
        arguments = DETECTORS["Padim"] | {"n_features": 50 * (number + 1)}
        make_run(tmp_path, f"r{number}", arguments=arguments, identity={name: value})
    assert effects_of_arguments(_table(tmp_path), "image_AUROC").empty, "no two runs differ in one thing alone"


@pytest.mark.parametrize("name", ["channels_last", "backbone_precision", "normalization_mean"])
def test_configurations_that_differ_in_a_setting_of_the_experiment_have_different_names(tmp_path, name):
    for number, value in enumerate({"channels_last": (False, True)}.get(name, ("float32", "bfloat16"))):
        identity = {name: value}
        if name == "normalization_mean":
            identity = {"mean": (float(number), 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        make_run(tmp_path, f"r{number}", identity=identity)
    names = configurations(_table(tmp_path))["configuration"]
    assert len(set(names)) == 2 and all(name in each for each in names)


# --------------------------------------------------------------------------------------------- everything can be made


def _make_tables(results: Path, criterion: str = "image_AUROC") -> None:
    """Make every sheet, the workbook and all exports, and check that nothing was lost on the way."""
    runs, problems = read_records(results)
    comparison = compare(runs_table(runs), problems, criterion)
    models = comparison.models
    if len(models):
        places = models.groupby([*PROTOCOL, "Model", "backbone"], dropna=False)["configuration"]
        assert (places.nunique() == places.size()).all(), "two configurations of a detector have one name"
    assert len(summary(comparison)) == len(comparison.best)
    sheets = all_sheets(comparison, results)
    write_workbook(results / "w.xlsx", sheets)
    rows = openpyxl.load_workbook(results / "w.xlsx", read_only=True)["All runs"].iter_rows(values_only=True)
    assert len([row for row in rows if any(value is not None for value in row)]) == len(runs) + 1
    for sheet in sheets:
        for format in FORMATS:
            content = export(sheets, sheet.name, format)
            if format == "parquet":
                assert len(pd.read_parquet(io.BytesIO(content))) == len(sheet.table)


def _run_notebook(results: Path) -> list[str]:
    """Run the cells of 30_results here, without the seconds of a kernel; return the types of what they show."""
    space: dict = {}
    shown = []
    for cell in nbformat.read(paths.NOTEBOOKS / "30_results.ipynb", as_version=4).cells:
        if cell.cell_type != "code":
            continue
        lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
        parsed = ast.parse("\n".join(lines))
        last = parsed.body.pop() if isinstance(parsed.body[-1], ast.Expr) else None
        exec(compile(parsed, "30_results", "exec"), space)
        if "parameters" in cell.metadata.get("tags", []):
            space |= {"results": str(results), "workbook": str(results / "w.xlsx")}
        value = eval(compile(ast.Expression(last.value), "30_results", "eval"), space) if last else None
        if isinstance(value, Figure):
            value.set_layout_engine("none")  # most of the time of drawing, and looked at in test_figures
            value.savefig(io.BytesIO(), dpi=20)
        elif hasattr(value, "_repr_html_"):
            assert "<table" in value._repr_html_()
        shown.append(type(value).__name__)
    return shown


CASES = {
    "the demonstration": make_demo,
    "several seeds": lambda results: make_demo(results, (0, 1)),
    "one run": lambda results: make_run(results, "a"),
    "one run without a backbone": lambda results: _dsr(results, (None,)),
    "no runs": lambda results: None,
    "all failed": lambda results: make_demo(results, status="failed", metrics={}, times={}, error="x"),
    "detectors without a backbone": lambda results: [
        make_run(results, f"r{number}", detector, arguments=arguments, weights=None)
        for number, (detector, arguments) in enumerate(DEMO)
        if arguments.get("backbone") is None
    ],
    "no masks": lambda results: make_demo(results, runs=FEW, **NO_MASKS),
    "no masks in one dataset": lambda results: [
        make_run(results, "a", dataset="a", **NO_MASKS),
        make_run(results, "b", dataset="b"),
        make_run(results, "c", dataset="c", **NO_MASKS),
    ],
    "no defective images": lambda results: make_demo(results, **GOOD_ONLY),
    "no defective images in one dataset": lambda results: [
        make_run(results, "a", dataset="a", **GOOD_ONLY),
        make_run(results, "b", dataset="b"),
    ],
    "equal metrics": lambda results: [
        make_run(results, f"{detector}-{dataset}", detector, dataset=dataset, metrics={"image_AUROC": 1.0})
        for detector in DETECTORS
        for dataset in "abc"
    ],
    "values of every type": _mixed,
    "no times and no thresholds": lambda results: make_demo(
        results, runs=FEW, times={}, memory={}, checkpoint={}, thresholds={"image": None, "pixel": None}
    ),
    "random weights": lambda results: make_demo(results, **RANDOM),
    "with labels and without": lambda results: [
        *make_labelled(results, (5, None), shift=100),
        *make_labelled(results, (5,), dataset="boards"),
        *make_demo(results),
    ],
    "nothing but labels": lambda results: [
        shutil.rmtree(results / "runs" / record.run_id)
        for record in make_labelled(results, (5, 20), seeds=(0,))
        if record.detector == "Patchcore"
    ],
    "nothing about the machine": lambda results: make_demo(results, environment={}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_sheet_and_export_can_be_made(tmp_path, case):
    CASES[case](tmp_path)
    _make_tables(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("criterion", METRICS)
def test_every_metric_may_decide_also_beside_records_that_lack_it(tmp_path, criterion):
    counts = {"train/good": 4, "test/good": 7, "test/hole": 30}
    for number, (value, dataset) in enumerate([(0.25, "a"), (0.75, "a"), (0.5, "b"), (1.5, "b"), (0.5, "c")]):
        detector = "Padim" if number % 2 else "Patchcore"
        metrics = {"image_AUROC": 0.5, criterion: value}
        intervals = {criterion: (value - 0.1, value + 0.1)}
        make_run(tmp_path, f"r{number}", detector, dataset=dataset, metrics=metrics, intervals=intervals, counts=counts)
    make_run(tmp_path, "old", "Cflow", metrics={"pixel_AUROC" if criterion == "image_AUROC" else "image_AUROC": 0.5})
    _make_tables(tmp_path, criterion)


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(set(CASES) - {"several seeds", "random weights", "nothing about the machine"}))
def test_every_cell_of_the_results_notebook_runs(tmp_path, case):
    CASES[case](tmp_path)
    shown = _run_notebook(tmp_path)
    assert shown.count("Figure") >= 9 and "Styler" in shown


@st.composite
def _run(draw) -> dict:
    """Draw what a run is made from: anything may be missing, and an argument may be of any type."""
    detector = draw(st.sampled_from(("Padim", "Patchcore", "Cflow", "Dsr", "Draem", "Autoencoder")))
    backbone = None if detector in ("Draem", "Autoencoder") else draw(st.sampled_from((None, "resnet18", "tf_x")))
    names = draw(st.lists(st.sampled_from(("layers", "max_epochs", "width", "n_features")), unique=True))
    run = {
        "detector": detector,
        "arguments": {"backbone": backbone} | {name: draw(st.sampled_from(MIXED)) for name in names},
        "seed": draw(st.integers(0, 2)),
        "dataset": draw(st.sampled_from("de")),
        "code_sha256": draw(st.sampled_from((None, "a" * 64, "b" * 64))),
        "skill": draw(st.sampled_from((0.0, 3.0))),
        "identity": {
            "normalization": draw(st.sampled_from(("backbone", "imagenet"))),
            "mean": draw(st.sampled_from((None, (0.0,)))),
            "channels_last": draw(st.booleans()),
            "image_size": draw(st.sampled_from(((64, 64), (64, 32)))),
            "validation_split": draw(st.sampled_from((0.0, 0.1))),
            "labelled": draw(st.sampled_from((0, 0.5, 4))),
            "labels": draw(st.sampled_from((None, 3))),
            "threshold": draw(st.sampled_from(("conformal", "labelled"))),
        },
        "labels": draw(st.sampled_from((0, 6))),
        "calibration": draw(st.sampled_from((None, Calibrated("hold out", 9, 9, 0.05, None, OnLabels(6))))),
    }
    changes = (
        {},
        {},
        GOOD_ONLY,
        NO_MASKS,
        {"status": "failed", "metrics": {}, "times": {}},
        RANDOM,
        {"environment": {}},
    )
    more = ({}, {"times": {}}, {"thresholds": {"image": None}}, {"memory": {}, "checkpoint": None})
    return run | draw(st.sampled_from(changes)) | draw(st.sampled_from(more))


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.lists(_run(), min_size=1, max_size=6))
def test_any_records_can_be_compared(runs):
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(runs):
            make_run(Path(folder), f"r{number}", **run)
        _make_tables(Path(folder))
        assert math.isfinite(effects_of_arguments(_table(Path(folder)), "image_AUROC")["pairs"].sum())

"""What the examples in docstrings say is so."""

import ast
import doctest
import importlib
import tempfile
from collections.abc import Iterator

import pytest

from training_code.foundation import paths

#: What people call from notebooks and programs: each has an example.
ENTRY_POINTS = [
    "training_code.experiment:Experiment",  # first: it imports what others import as well
    "inference_code.loading:load_predictor",
    "inference_code.postprocessing:quantile_threshold",
    "inference_code.promises:promised",
    "training_code.backbones.registry:get_backbone",
    "inference_code.most_useful:rank",
    "inference_code.station.filing:safe",
    "inference_code.station.grouping:ByFolder",
    "inference_code.station.grouping:ByPattern",
    "inference_code.station.grouping:Expected",
    "inference_code.station.martingale:Ranks",
    "inference_code.station.watches:may_reach",
    "inference_code.verdicts:Rule",
    "inference_code.verdicts:fisher",
    "inference_code.verdicts:p_value",
    "training_code.augmentation:copies",
    "training_code.comparison.configurations:configurations",
    "training_code.comparison.decision:Assumptions",
    "training_code.comparison.effects:effects_of_arguments",
    "training_code.evaluation.decisions:area_classes",
    "training_code.evaluation.intervals:delong_covariance",
    "training_code.comparison.not_run:few",
    "training_code.comparison.operating_curve:curve_of",
    "training_code.comparison.operating_curve:deployed_point",
    "training_code.comparison.table:runs_table",
    "training_code.comparison.uncertainty:with_deviation",
    "training_code.comparison.uncertainty:with_interval",
    "training_code.data.adapters.annotated:defect_type",
    "training_code.data.boxes:typed_regions",
    "training_code.data.dataset:read_dataset",
    "training_code.data.good_data_extractor:extract",
    "training_code.data.masks.mask_augmentation:transform_pair",
    "training_code.data.masks.mask_builder:binary_mask",
    "training_code.data.run_lengths:cut_out",
    "training_code.data.run_lengths:row_runs",
    "training_code.data.synthetic:add_anomaly",
    "training_code.detectors.configuration:configure",
    "training_code.detectors.padim.gaussian:FactorizedGaussian",
    "training_code.detectors.patchcore.coreset:farthest_beside",
    "training_code.detectors.patchcore.coreset:k_center_greedy",
    "training_code.detectors.patchcore.growing:grown",
    "training_code.detectors.patchcore.spec:surplus",
    "training_code.detectors.registry:get_detector",
    "training_code.detectors.subspace.moments:Moments",
    "training_code.detectors.transformers:block_numbers",
    "training_code.detectors.transformers:halves",
    "training_code.evaluation.calibration:area_scores",
    "training_code.evaluation.calibration:conformal",
    "training_code.evaluation.metrics:decide",
    "training_code.evaluation.operating_point:OperatingPoint",
    "training_code.evaluation.ranking:rank",
    "training_code.evaluation.regions:region_shares",
    "training_code.foundation.memory:readable",
    "training_code.foundation.stacks:chunks",
    "training_code.evaluation.references:difference",
    "training_code.protocol:ComputeOptions",
    "training_code.protocol:ExperimentProtocol",
    "training_code.records.promises:promise",
    "training_code.reporting.presentation:text_column",
    "training_code.tiling:Tiling",
]
#: Their examples train.
TRAINING = ("training_code.experiment:Experiment", "inference_code.loading:load_predictor")

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


@pytest.fixture
def examples(request, tmp_path, monkeypatch):
    """The examples in the docstring of a definition; what they write lies in a folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module, _, name = request.param.partition(":")
    found = doctest.DocTestFinder(recurse=False).find(getattr(importlib.import_module(module), name), request.param)
    return [test for test in found if test.examples]


@pytest.mark.parametrize(
    "examples",
    [pytest.param(name, marks=pytest.mark.slow) if name in TRAINING else name for name in ENTRY_POINTS],
    indirect=True,
)
def test_an_entry_point_has_an_example_that_is_so(examples):
    assert examples
    run(examples)


def test_the_entry_points_are_all_that_has_an_example():
    assert set(definitions_with_an_example()) == set(ENTRY_POINTS)


def definitions_with_an_example() -> Iterator[str]:
    """Yield the definitions, and the modules, in whose docstring there is an example."""
    for package in ("training_code", "inference_code"):
        for path in sorted((paths.ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if ">>> " not in text:
                continue
            module = ".".join(path.relative_to(paths.ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, DOCUMENTED) and ">>> " in (ast.get_docstring(node) or ""):
                    yield module if isinstance(node, ast.Module) else f"{module}:{node.name}"


def test_an_example_that_is_not_so_is_told():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        run([wrong])


def run(examples: list[doctest.DocTest]) -> None:
    """Run examples; an AssertionError tells what differs."""
    differences: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for example in examples:
        runner.run(example, out=differences.append)
    assert not differences, "".join(differences)

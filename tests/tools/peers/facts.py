"""What the output of each tool says: answers, and for each the line of the package where one would look for it.

No line shows that something is absent: somebody has read the package for each "no". A line is found by its text when
the comparison is made. Where a version of a package no longer has it, the comparison stops: somebody has to read that
package again.
"""

from pathlib import Path
from typing import Any

#: Answers by question and tool: what it does, the file of the package, a part of the line there.
FACTS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Thresholds without test images": {
        "this project": (
            "yes: from good images that the detector has not seen",
            "evaluation/calibration.py",
            "class Calibration",
        ),
        "anomalib by hand": (
            "no: by default, a part of the test images of a folder chooses it",
            "data/datamodules/image/folder.py",
            "val_split_mode: ValSplitMode | str = ValSplitMode.FROM_TEST",
        ),
        "anomalib benchmark": (
            "no: as by hand; its table does not hold the threshold",
            "pipelines/benchmark/job.py",
            "test_results = engine.test(self.model, self.datamodule)",
        ),
        "imgad": (
            "yes: a quantile of the scores of held-out good images",
            "anomalib_backend.py",
            "self.threshold_ = float(np.quantile(scores, self.threshold_quantile))",
        ),
    },
    "What a threshold promises": {
        "this project": (
            "yes: the largest share of new good parts that are refused, for so many images and parts",
            "evaluation/operating_point.py",
            "The smallest promise that so many groups allow.",
        ),
        "anomalib by hand": ("no", "post_processing/post_processor.py", "_threshold_metric = F1AdaptiveThreshold("),
        "anomalib benchmark": ("no", "post_processing/post_processor.py", "_threshold_metric = F1AdaptiveThreshold("),
        "imgad": (
            "no: about 5 % of false alarms, without a guarantee for few images",
            "anomalib_backend.py",
            "~5% false alarms",
        ),
    },
    "Uncertainty of AUROC": {
        "this project": ("yes: intervals in every record", "evaluation/intervals.py", "Confidence intervals of AUROC"),
        "anomalib by hand": ("no", "metrics/evaluator.py", "class Evaluator"),
        "anomalib benchmark": ("no", "pipelines/benchmark/job.py", "**test_results[0],"),
        "imgad": ("yes: bootstrap, where it is asked for", "stats.py", "def bootstrap_ci("),
    },
    "Tests of differences": {
        "this project": (
            "yes: models that are indistinguishable from the best, corrected for the choice",
            "comparison/statistics.py",
            "def model_confidence_set(",
        ),
        "anomalib by hand": ("no", "metrics/evaluator.py", "class Evaluator"),
        "anomalib benchmark": ("no", "pipelines/benchmark/job.py", "return pd.DataFrame(output)"),
        "imgad": ("yes: DeLong, Friedman, Nemenyi, Wilcoxon", "stats.py", "def delong_test("),
    },
    "How a result came about": {
        "this project": (
            "yes: configuration, versions, hardware, fingerprints of data and weights, commit, with each run",
            "records/record.py",
            "class Environment(TypedDict, total=False):",
        ),
        "anomalib by hand": ("no", "metrics/evaluator.py", "class Evaluator"),
        "anomalib benchmark": (
            "in part: the configuration, in the table",
            "pipelines/benchmark/job.py",
            "**self.flat_cfg,",
        ),
        "imgad": ("in part: configuration and versions, in a report that is asked for", "report.py", "def _versions()"),
    },
    "Grids of different detectors": {
        "this project": ("yes", "sweep/plan.py", "def make_plan("),
        "anomalib by hand": ("yes", "engine/engine.py", "def fit("),
        "anomalib benchmark": (
            "no: other arguments than those of the first one end it with a KeyError after all the work",
            "pipelines/benchmark/job.py",
            "for key in results[0]:",
        ),
        "imgad": ("yes", "evaluation.py", "def benchmark("),
    },
    "Pictures in medical formats": {
        "this project": ("no", "data/images.py", '"DICOM": rb'),
        "anomalib by hand": ("no", "data/utils/path.py", "IMG_EXTENSIONS"),
        "anomalib benchmark": ("no", "data/utils/path.py", "IMG_EXTENSIONS"),
        "imgad": ("yes: DICOM and NIfTI", "imageio.py", "def is_nifti(path: str) -> bool:"),
    },
    "Networks by a name alone": {
        "this project": (
            "no: each is fetched by a command first, and kept",
            "backbones/weights.py",
            "has no weights: there is no",
        ),
        "anomalib by hand": ("yes: timm downloads them", "models/components/feature_extractors/timm.py", "pretrained="),
        "anomalib benchmark": ("yes: as by hand", "models/components/feature_extractors/timm.py", "pretrained="),
        "imgad": ("yes: also of transformers and open_clip", "features/huggingface.py", "AutoModel"),
    },
}


def cited(folders: dict[str, Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the answers with the file and line of each.

    Parameters
    ----------
    folders
        Where the package of each tool lies.

    Raises
    ------
    ValueError
        If a package no longer has a line.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for question, answers in FACTS.items():
        for tool, (answer, file, text) in answers.items():
            folder = folders[tool]
            said = {"answer": answer, "file": f"{folder.name}/{file}", "line": find_line(folder / file, text)}
            found.setdefault(question, {})[tool] = said
    return found


def find_line(path: Path, text: str) -> int:
    """Return the number of the first line of a file that holds a text."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if text in line:
            return number
    raise ValueError(f"{path} no longer has {text!r}: read that version, and mend tests/tools/peers/facts.py")

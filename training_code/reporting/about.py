"""What the workbook was made from, how, and what its words mean."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from training_code.comparison.configurations import OTHER_CODE, TESTED
from training_code.comparison.ranks import over_datasets_sentence
from training_code.comparison.statistics import ALPHA, SAMPLES
from training_code.comparison.values import is_missing
from training_code.evaluation.metrics import BOOTSTRAP_SAMPLES, CONFIDENCE
from training_code.foundation import paths
from training_code.foundation.clock import now
from training_code.records.environment import git_commit


def about(
    runs: pd.DataFrame, models: pd.DataFrame, problems: Sequence[str], criterion: str, results: Path
) -> pd.DataFrame:
    """Return what the workbook was made from, how, and what its words mean."""
    counts = ", ".join(f"{count} {status}" for status, count in runs["status"].value_counts().items())
    rows = [
        ("made", now()),
        ("runs", f"{len(runs)} in {paths.relative_to_home(results)}: {counts or 'none'}"),
        ("not read", f"{len(problems)}, see Failed" if problems else "0"),
        ("criterion", f"{criterion}, mean over seeds, on the test set"),
        ("git commit", git_commit() or "no git repository"),
        ("versions of the runs", "; ".join(_distinct(runs, "versions")) or "unknown"),
        ("hardware of the runs", "; ".join(_distinct(runs, "processor", "gpu")) or "unknown"),
        (
            "protocol",
            "Runs are ranked together only on the same images (fingerprint) at the same size, with thresholds found in "
            "the same way. Random weights are not ranked.",
        ),
        (
            "labels",
            "Models that have seen labelled defects are ranked apart from the others, and stand beside them: a metric "
            "that goes by no threshold rests on labels where the detector was trained on them, any other one also "
            "where its threshold was found by them. No labelled defect is a test image.",
        ),
        (
            "thresholds",
            "F1Score: at the threshold in force, found on images that the detector has not seen, never on the "
            "test set. F1Max: at the best threshold for the test set, an oracle that no user has, "
            "and so are PB1, PB5 and PB10. F1AllBad: of calling every image defective; an F1Score below it is red.",
        ),
        (
            "promises",
            "image_promise: at most that part of new good images is refused, where they come as those did that the "
            "threshold rests on. Only the rules conformal and labelled promise something; n good images allow no "
            "promise below 1/(n + 1). anomaly rethreshold puts another rule or alpha in force without training. A "
            "threshold that somebody moves by hand promises nothing.",
        ),
        (
            "seeds",
            "Metrics of models are means over runs that differ in their seed alone; _sd is their sample deviation, "
            "blank with one seed. run_id names the run nearest to the mean.",
        ),
        (
            "code",
            "Runs of different states of the code that decides about their detector's numbers (code_sha256) are never "
            f"averaged: they are rows of their own. Those that are not of the detector's newest state are marked "
            f"{OTHER_CODE}, also in the name of the configuration; they do not count in By backbone, By dataset and "
            "ranks over datasets. A sweep with --rerun-stale trains them again.",
        ),
        (
            "intervals",
            f"_low and _high: {CONFIDENCE:.0%} intervals over the test images of that run. AUROC: DeLong's on the "
            "logit scale; where the images are separated without an error, from the least separation that this is "
            f"evidence of. AUPR: bias-corrected and accelerated, of {BOOTSTRAP_SAMPLES} bootstrap samples. "
            "FalseAlarmRate and MissRate: exact (Clopper-Pearson).",
        ),
        (
            "level with the best",
            f"The model confidence set (Hansen, Lunde and Nason 2011) of {TESTED} over the same test images and all "
            f"seeds, among all configurations of the protocol: TRUE where p is at least {ALPHA}. If several are "
            f"equally good, one of them is called different in {ALPHA:.0%} of cases at most, though the best was "
            "chosen on the same images. Only told where the criterion is that metric.",
        ),
        (
            "optimism of the choice",
            "The best of many configurations is partly the luckiest on these images. optimism_of_choice says by how "
            f"much its {TESTED} is too high for that: the best is chosen on four fifths of the images and judged on "
            f"the others, {SAMPLES} times.",
        ),
        (
            "decision",
            "Decision ranks the best configurations of each detector by what their errors cost on a line. Rates are "
            "means over seeds, each at its own threshold. A threshold that is best for these costs is an oracle: it is "
            "found on the test images.",
        ),
        ("over datasets", over_datasets_sentence(models, criterion)),
        ("reduced", "Settings below the paper's, for a processor: such a model is not what its detector can do."),
        ("leak", "A test image is also a training image: the metrics of that dataset are too good."),
        ("sibling", "Test images show a part of which another photograph is trained on: metrics may be too good."),
        (
            "undetermined",
            "Gaussians with no more training images than features: their scores of new images are high and vary much.",
        ),
        ("latency_s", "Seconds for one image from the resized image to its map, nothing shared; see hardware."),
        ("fastest, least memory, smallest", "TRUE where no model of the same protocol is better at no higher cost."),
        (
            "notes",
            "What you write, color, hide or add in this file is kept when it is made again, beside its row; what has "
            "no row any more is in Kept notes. Our own values are always those of the records.",
        ),
    ]
    return pd.DataFrame(rows, columns=["what", "value"])


def _distinct(runs: pd.DataFrame, *columns: str) -> list[str]:
    """Return what occurs in columns, together."""
    found = runs.reindex(columns=list(columns)).drop_duplicates().itertuples(index=False)
    return sorted({" with ".join(value for value in row if value and not is_missing(value)) for row in found} - {""})

"""Made-up runs for the examples in docstrings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from training_code.comparison.table import runs_table
from training_code.protocol import ExperimentProtocol
from training_code.records.identity import Identity
from training_code.records.record import DatasetUsed, Record


def example_table(runs: Sequence[tuple[int, float, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return the table of runs of DRAEM on one dataset, given by their seeds, their AUROC of images and arguments."""
    made = []
    for seed, auroc, arguments in runs:
        identity = Identity("Draem", dict(arguments), seed, ExperimentProtocol(), {}, None, None, "data", None, {})
        dataset = DatasetUsed("boards", "data/boards", "data", {"train/good": 4})
        began, ended = "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00"
        record = Record(identity.run_id, "ok", identity, {}, dataset, None, began, ended, {"image_AUROC": auroc})
        made.append((Path("results/runs") / record.run_id, record))
    return runs_table(made)

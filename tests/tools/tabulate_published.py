"""``python tests/tools/tabulate_published.py``: the tables of ``docs/published.md`` from ``models_comparing.xlsx``."""

import io
import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd

from training_code.comparison.decision import Assumptions
from training_code.comparison.uncertainty import with_deviation
from training_code.comparison.values import is_missing
from training_code.foundation import paths

PAGE = paths.ROOT / "docs" / "published.md"
BEGIN, END = "<!-- Written by tests/tools/tabulate_published.py. -->", "<!-- End of what it writes. -->"
#: The example of a line in the sheet `Decision`.
LINE = Assumptions()
METRICS = ("image_AUROC", "pixel_AUROC", "pixel_F1Score")
RATES = ("image_FalseAlarmRate", "image_MissRate")
LABELS = ("labels_for_training", "labels_for_thresholds")
COLUMNS = ("Model", "false alarms", "misses", "cost a day", *METRICS, "labels for", "backbone, configuration")


def main() -> int:
    """Write the tables into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    written = tables(paths.WORKBOOK.read_bytes())
    PAGE.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}", encoding="utf-8")
    return 0


def tables(workbook: bytes) -> str:
    """Return a table for each dataset and size as Markdown.

    The cheapest model on the example of a line is first; without costs, the one with the best pixel AUROC.
    """
    sheets = pd.read_excel(io.BytesIO(workbook), sheet_name=["Best models", "All runs"])
    best = sheets["Best models"].dropna(subset=["run_id"])
    best = best.assign(size=best["protocol"].str.split(",").str[0])
    runs = sheets["All runs"]
    models = pd.concat([best, _without_good_images(runs[~runs["dataset"].isin(best["dataset"])])])
    models["cost"] = [_cost(row) for _, row in models.iterrows()]
    parts = []
    for (dataset, size), group in models.groupby(["dataset", "size"], sort=False):
        ranked = group.sort_values(["cost", *METRICS[1:]], ascending=[True, False, False])
        rows = [list(_cells(row)) for _, row in ranked.iterrows()]
        parts.append(f"### {dataset}, {size} pixels\n\n{_markdown([list(COLUMNS), ['---'] * len(COLUMNS), *rows])}")
    return "\n\n".join(parts)


def _without_good_images(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the means of runs that no image AUROC ranks, of which each detector has one configuration."""
    rows = []
    for (dataset, height, width, detector), group in runs.groupby(
        ["dataset", "image_height", "image_width", "detector"], sort=False
    ):
        numbers = group.reindex(columns=[*METRICS, *RATES, *LABELS]).astype(float)
        row = dict(numbers.mean()) | {f"{name}_sd": value for name, value in numbers.std().items()}
        rows.append(row | {"dataset": dataset, "size": f"{height} × {width}", "Model": detector})
    return pd.DataFrame(rows)


def _cost(row: "pd.Series[Any]") -> float:
    """Return what a model costs a day on the example of a line; NaN where there are no good or no defective images."""
    false_alarms, misses = (row[name] for name in RATES)
    return LINE.refusing_all * false_alarms + LINE.passing_all * misses


def _cells(row: "pd.Series[Any]") -> Iterator[str]:
    yield row["Model"]
    for name in RATES:
        yield "" if is_missing(row[name]) else f"{row[name]:.1%}"
    yield "" if is_missing(row["cost"]) else f"{row['cost']:.0f}"
    for name in METRICS:
        yield with_deviation(row.get(name), row.get(f"{name}_sd"))
    training, thresholds = (row[name] > 0 for name in LABELS)
    yield "training" if training else "thresholds" if thresholds else "none"
    yield ", ".join(str(row[name]) for name in ("backbone", "configuration") if not is_missing(row[name]))


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())

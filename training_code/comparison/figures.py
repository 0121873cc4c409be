"""Pictures of the comparison."""

import pandas as pd
import seaborn
from matplotlib.figure import Figure

from training_code.comparison.table import MAIN_METRICS

PALETTE = "colorblind"


def draw_main_metrics(table: pd.DataFrame) -> Figure:
    """Draw the main metrics of every run that ended well: one panel a metric, one row a dataset, one dot a run.

    Runs are spread over backbones; each detector has a colour and a line of its own.
    """
    good = table[table["status"] == "ok"]
    metrics = [metric for metric in MAIN_METRICS if metric in good and good[metric].notna().any()]
    datasets = sorted(good["dataset"].unique())
    rows, columns = max(len(datasets), 1), max(len(metrics), 1)
    figure = Figure(figsize=(3.6 * columns, 0.9 + 0.45 * good["backbone"].nunique() * rows + 1.1 * rows))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    if not metrics:
        axes[0, 0].axis("off")
        axes[0, 0].set_title("no run with metrics yet")
        return figure
    detectors = sorted(good["detector"].unique())
    for row, dataset in zip(axes, datasets, strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            seaborn.stripplot(
                good[good["dataset"] == dataset],
                x=metric,
                y="backbone",
                hue="detector",
                hue_order=detectors,
                palette=seaborn.color_palette(PALETTE, len(detectors)),
                dodge=True,
                jitter=False,
                alpha=0.8,
                ax=axis,
                legend=axis is axes[0, -1],
            )
            axis.set_ylabel("")
            axis.grid(axis="x", alpha=0.3)
            if axis is not row[0]:
                axis.set_yticklabels([])
        row[0].set_title(dataset, loc="left", parse_math=False)
    seaborn.move_legend(axes[0, -1], "upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure

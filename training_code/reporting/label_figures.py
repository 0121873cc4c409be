"""Pictures of results against the number of labelled defects that configurations have seen."""

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training_code.comparison.label_curves import ALL_DEFECTS
from training_code.reporting.canvas import color, laid_out, make_figure, say
from training_code.reporting.charts import CHARTED

#: What is drawn of each type of defects.
_BY_TYPE = ("image_AUROC", "image_MissRate")
#: Datasets and protocols, types of defects, and curves of a panel that a picture shows at most.
MOST, MOST_TYPES, MOST_CURVES = 6, 6, 8
#: Of curves.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("--", ":", "-.")
_LEGEND, _LINE = 3.6, 46  # inches, and characters of a line in them
_NOTHING = "no run has seen labelled defects"


def draw_label_curves(curves: pd.DataFrame) -> Figure:
    """Draw results of all defects against the number of labels, with 95 % intervals over seeds: a row a protocol.

    Horizontal lines are the best configurations without labels.

    Parameters
    ----------
    curves
        Of `training_code.comparison.label_curves.label_curves`.
    """
    curves = curves[curves["defect type"] == ALL_DEFECTS]
    groups = list(curves.groupby(["dataset", "protocol"], sort=False))[:MOST]
    metrics = [name for name in CHARTED if curves[name].notna().any()]
    figure = make_figure(3.2 * max(len(metrics), 1) + _LEGEND, 3.2 * max(len(groups), 1) + 0.4)
    axes = figure.subplots(max(len(groups), 1), max(len(metrics), 1), squeeze=False)
    if not groups or not metrics:
        return say(figure, axes[0, 0], _NOTHING)
    for row, ((dataset, protocol), group) in zip(axes, groups, strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            _draw_panel(axis, group, metric)
            axis.set(xlabel="labelled defects seen", ylabel=metric)
        row[0].set_title(f"{dataset}, {protocol}", loc="left", fontsize="medium", parse_math=False)
        add_legend(row)
    return laid_out(figure)


def draw_labels_by_type(curves: pd.DataFrame) -> Figure:
    """Draw the same of each type of defects: a column a type, a row a metric of a protocol."""
    curves = curves[curves["defect type"] != ALL_DEFECTS]
    rows = [
        (dataset, metric, group)
        for (dataset, _), group in list(curves.groupby(["dataset", "protocol"], sort=False))[:MOST]
        for metric in _BY_TYPE
        if group[metric].notna().any()
    ]
    width = max((min(group["defect type"].nunique(), MOST_TYPES) for *_, group in rows), default=1)
    figure = make_figure(2.6 * width + _LEGEND, 2.7 * max(len(rows), 1) + 0.4)
    axes = figure.subplots(max(len(rows), 1), width, squeeze=False)
    if not rows:
        return say(figure, axes[0, 0], _NOTHING)
    for panels, (dataset, metric, group) in zip(axes, rows, strict=True):
        types = list(group["defect type"].unique())[:MOST_TYPES]
        for axis in panels[len(types) :]:
            axis.set_visible(False)
        for axis, kind in zip(panels, types, strict=False):
            _draw_panel(axis, group[group["defect type"] == kind], metric)
            axis.set_title(f"{dataset}: {kind}", fontsize="small", parse_math=False)
            axis.set_xlabel("labelled defects seen", fontsize="small")
        panels[0].set_ylabel(metric, fontsize="small")
        add_legend(panels[: len(types)])
    return laid_out(figure)


def _draw_panel(axis: Axes, group: pd.DataFrame, metric: str) -> None:
    """Draw the curves of a metric, and a horizontal line for each configuration without labels."""
    configurations = list(group.groupby(["Model", "backbone", "configuration"], sort=False))
    curves = [found for found in configurations if found[1]["labels_seen"].any()][:MOST_CURVES]
    for number, (name, points) in enumerate(curves):
        points = points.dropna(subset=[metric])
        axis.errorbar(
            points["labels_seen"],
            points[metric],
            yerr=points[f"{metric}_95"].fillna(0),
            marker=MARKERS[number],
            color=color(number),
            capsize=3,
            linewidth=1.6,
            label=", ".join(filter(None, name)),
        )
    without = [found for found in configurations if not found[1]["labels_seen"].any()]
    for number, (name, points) in enumerate(without):
        if points[metric].notna().any():
            label = f"{', '.join(filter(None, name))}, without labels"
            axis.axhline(points[metric].iloc[0], color="0.35", linestyle=_DASHES[number % len(_DASHES)], label=label)
    lowest, highest = axis.get_ylim()
    axis.set(xlim=(0, None), ylim=(max(lowest, -0.03), min(highest, 1.03)))  # intervals may go beyond what is possible
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize="small")


def add_legend(row: Sequence[Axes]) -> None:
    """Name the curves of a row at its right, each once."""
    named = {label: handle for axis in row for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    labels = [textwrap.fill(label, _LINE) for label in named]
    row[-1].legend(named.values(), labels, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")


def more_labels_in_words(curves: pd.DataFrame) -> list[str]:
    """Return a sentence for each configuration with labels: whether labelling more pays."""
    told = curves[curves["more_labels"].notna() & (curves["more_labels"] != "")]
    return [
        f"{row['dataset']}, {', '.join(filter(None, (row['Model'], row['backbone'], row['configuration'])))}: "
        f"{row['more_labels']}."
        for row in told.to_dict("records")
    ]

"""Pictures of results against the number of training images."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from training_code.comparison.image_curves import IMAGES
from training_code.reporting.canvas import color, laid_out, make_figure, say
from training_code.reporting.charts import CHARTED
from training_code.reporting.label_figures import MARKERS, MOST, MOST_CURVES, add_legend

_LEGEND = 3.6  # inches
_NOTHING = "no configuration was run with several numbers of training images"


def draw_image_curves(curves: pd.DataFrame) -> Figure:
    """Draw results against the number of training images, with 95 % intervals over seeds: a row a protocol.

    Parameters
    ----------
    curves
        Of `training_code.comparison.image_curves.image_curves`.
    """
    groups = list(curves.groupby(["dataset", "protocol"], sort=False))[:MOST] if len(curves) else []
    metrics = [name for name in CHARTED if len(curves) and curves[name].notna().any()]
    figure = make_figure(3.2 * max(len(metrics), 1) + _LEGEND, 3.2 * max(len(groups), 1) + 0.4)
    axes = figure.subplots(max(len(groups), 1), max(len(metrics), 1), squeeze=False)
    if not groups or not metrics:
        return say(figure, axes[0, 0], _NOTHING)
    for row, ((dataset, protocol), group) in zip(axes, groups, strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            _draw_panel(axis, group, metric)
        row[0].set_title(f"{dataset}, {protocol}", loc="left", fontsize="medium", parse_math=False)
        add_legend(row)
    return laid_out(figure)


def _draw_panel(axis: Axes, group: pd.DataFrame, metric: str) -> None:
    """Draw the curves of a metric; from 1 image to 2 is as far as from 50 to 100."""
    named = list(group.groupby(["Model", "backbone", "configuration"], sort=False))[:MOST_CURVES]
    for number, (name, points) in enumerate(named):
        points = points.dropna(subset=[metric])
        axis.errorbar(
            points[IMAGES].astype(float),
            points[metric].astype(float),
            yerr=points[f"{metric}_95"].astype(float).fillna(0),
            marker=MARKERS[number],
            color=color(number),
            capsize=3,
            linewidth=1.6,
            label=", ".join(filter(None, name)),
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(set(group[IMAGES])))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.minorticks_off()
    lowest, highest = axis.get_ylim()
    axis.set(ylim=(max(lowest, -0.03), min(highest, 1.03)))  # intervals may go beyond what is possible
    axis.set(xlabel="training images", ylabel=metric)
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize="small")


def more_images_in_words(curves: pd.DataFrame) -> list[str]:
    """Return a sentence for each configuration: whether more training images pay."""
    told = curves[curves["more_images"].notna() & (curves["more_images"] != "")] if len(curves) else curves
    return [
        f"{row['dataset']}, {', '.join(filter(None, (row['Model'], row['backbone'], row['configuration'])))}: "
        f"{row['more_images']}."
        for row in told.to_dict("records")
    ]

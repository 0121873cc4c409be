"""Pictures of products: one detector for all of them beside a detector for each."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training_code.comparison.by_product import ALL_CONFIGURATIONS
from training_code.reporting.canvas import color, laid_out, make_figure, say
from training_code.reporting.label_figures import MARKERS, MOST, MOST_CURVES, add_legend

#: What is told of each product: how well images are ranked, and both kinds of errors at the one threshold.
TOLD = ("image_AUROC", "image_FalseAlarmRate", "image_MissRate")
_LEGEND = 3.6  # inches
_NOTHING = "no detector was trained on several products"


def draw_products(table: pd.DataFrame) -> Figure:
    """Draw what detectors of several products reach on each, filled, and detectors for that one alone, hollow.

    Parameters
    ----------
    table
        Of `training_code.comparison.by_product.by_product`.
    """
    rows = table[table["Model"] != ALL_CONFIGURATIONS]
    groups = list(rows.groupby(["dataset", "protocol"], sort=False))[:MOST]
    metrics = [name for name in TOLD if (rows["metric"] == name).any()]
    figure = make_figure(3.2 * max(len(metrics), 1) + _LEGEND, 3.0 * max(len(groups), 1) + 0.4)
    axes = figure.subplots(max(len(groups), 1), max(len(metrics), 1), squeeze=False)
    if not groups or not metrics:
        return say(figure, axes[0, 0], _NOTHING)
    for row, ((dataset, protocol), group) in zip(axes, groups, strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            _draw_panel(axis, group[group["metric"] == metric], metric)
        row[0].set_title(f"{dataset}, {protocol}", loc="left", fontsize="medium", parse_math=False)
        add_legend(row)
    return laid_out(figure)


def _draw_panel(axis: Axes, group: pd.DataFrame, metric: str) -> None:
    """Draw a metric: a place for each product, and in it the configurations beside each other."""
    products = list(group["product"].unique())
    named = list(group.groupby(["Model", "backbone", "configuration"], sort=False))[:MOST_CURVES]
    for number, (name, rows) in enumerate(named):
        shift = 0.6 * ((number + 0.5) / len(named) - 0.5)
        places = [products.index(product) + shift for product in rows["product"]]
        label = ", ".join(filter(None, name))
        for column, filled in (("one_for_all", True), ("one_for_each", False)):
            values = rows[column].astype(float)
            if values.notna().any():
                axis.plot(
                    places,
                    values,
                    marker=MARKERS[number],
                    linestyle="none",
                    color=color(number),
                    markerfacecolor=color(number) if filled else "none",
                    label=f"{label}: {'one for all' if filled else 'one for each'}",
                )
    axis.set_xticks(range(len(products)), products, rotation=20, ha="right", parse_math=False)
    axis.set(xlim=(-0.5, len(products) - 0.5), ylabel=metric)
    axis.grid(axis="y", alpha=0.3)
    axis.tick_params(labelsize="small")

"""What the pictures of the comparison are drawn with.

Colors are such that color-blind readers can tell them apart.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE = "colorblind"
_SEQUENTIAL = "Blues"


def heat_map(axis: Axes, square: pd.DataFrame, digits: str, title: str, **limits: Any) -> None:
    """Draw a table as a heat map, with its numbers where there are few."""
    annotate = square.size <= 64
    seaborn.heatmap(
        square, annot=annotate, fmt=digits, cmap=_SEQUENTIAL, ax=axis, linewidths=0.5, annot_kws={"size": 8}, **limits
    )
    axis.set_title(textwrap.fill(title, 48), fontsize="small", parse_math=False)
    axis.set(xlabel=axis.get_xlabel(), ylabel=axis.get_ylabel())
    axis.tick_params(labelsize="x-small")
    for label in axis.get_xticklabels():
        label.set(rotation=30, ha="right")
    for label in axis.get_yticklabels():
        label.set(rotation=0)


def make_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a width and a height in inches; when everything is drawn, `laid_out` returns it."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained")
    return figure


def laid_out(figure: Figure) -> Figure:
    """Return a figure with its parts in their places; while it has a layout engine, showing it draws it twice."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    return figure


def make_grid(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each of ``count``, at least one, three in a row; sizes in inches a panel."""
    shown = max(count, 1)
    columns = min(shown, 3)
    rows = -(-shown // columns)
    figure = make_figure(width * columns, height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[shown:]:
        axis.set_visible(False)
    return figure, axes[:shown]


def say(figure: Figure, axis: Axes, words: str) -> Figure:
    """Return a figure that only says why there is nothing to see."""
    figure.set_size_inches(8, 0.5)
    axis.axis("off")
    axis.set_title(words)
    return laid_out(figure)


def color(number: int) -> tuple[float, float, float]:
    """Return a color of the palette."""
    palette: Sequence[tuple[float, float, float]] = seaborn.color_palette(PALETTE)
    return palette[number % len(palette)]

"""Pictures as the notebook of results shows them."""

import io

from matplotlib.figure import Figure
from matplotlib.text import Text


def draw(figure):
    """Draw a figure; constrained layout warns where labels do not fit, which pytest is told to make an error.

    The notebook shows what lies within the figure: all that is written in it has to.
    """
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png")
    size = figure.bbox.size
    for text in figure.findobj(Text):
        axis = text.axes
        if axis is None or not (axis.get_visible() and text.get_visible() and text.get_text()):
            continue
        if text not in axis.get_xticklabels(which="both") + axis.get_yticklabels(which="both"):
            box = text.get_window_extent()  # of ticks: beyond the limits of an axis they are not drawn
            assert min(*box.min, *(size - box.max)) > -2, text.get_text()
    return figure

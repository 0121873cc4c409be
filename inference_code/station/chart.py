"""A small chart: the last values of some quantities against those of a reference, as SVG without any library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _MARGIN, _TOP = 260, 150, 16, 48
# Color-blind people tell blue from orange.
_BAND, _LINE, _DOT = "#c6dbef", "#2171b5", "#d95f0e"


@dataclass(frozen=True)
class Panel:
    """One quantity.

    Attributes
    ----------
    name
        In words.
    quantiles
        Of the reference, evenly spaced from the lowest value to the highest.
    values
        The last ones, in their order.
    """

    name: str
    quantiles: Sequence[float]
    values: Sequence[float]


def chart(title: str, panels: Sequence[Panel]) -> str:
    """Return panels in a row: a band for the middle 90 % of the reference, a line for its median, a dot a value."""
    width = max(1, len(panels)) * (_WIDTH + _MARGIN) + _MARGIN
    height = _TOP + _HEIGHT + 3 * _MARGIN
    drawn = "".join(_drawn(panel, _MARGIN + place * (_WIDTH + _MARGIN)) for place, panel in enumerate(panels))
    legend = "band and line: 90% and the middle of the reference; dots: the last photographs, the newest to the right"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12"><rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{_MARGIN}" y="20" font-weight="bold">{escape(title)}</text>{drawn}'
        f'<text x="{_MARGIN}" y="{height - _MARGIN}" fill="#555">{legend}</text></svg>\n'
    )


def _drawn(panel: Panel, left: float) -> str:
    every = [*panel.quantiles, *panel.values]
    low, high = min(every), max(every)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return _TOP + _HEIGHT - 6 - (value - low) / span * (_HEIGHT - 12)

    count = len(panel.quantiles)
    upper, middle, lower = (y(panel.quantiles[round(part * (count - 1))]) for part in (0.95, 0.5, 0.05))
    step = (_WIDTH - 12) / max(1, len(panel.values) - 1)
    dots = "".join(
        f'<circle cx="{left + 6 + place * step:.1f}" cy="{y(value):.1f}" r="2.5" fill="{_DOT}"/>'
        for place, value in enumerate(panel.values)
    )
    return (
        f'<text x="{left}" y="{_TOP - 6}">{escape(panel.name)} ({low:.3g} to {high:.3g})</text>'
        f'<rect x="{left}" y="{upper:.1f}" width="{_WIDTH}" height="{max(1.0, lower - upper):.1f}" fill="{_BAND}"/>'
        f'<line x1="{left}" x2="{left + _WIDTH}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="{_LINE}"/>'
        f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>{dots}'
    )

"""Numbers as people write them: with as many digits as their uncertainty leaves."""

import math

from training_code.comparison.values import is_missing

# Digits behind the point where nothing is known of the uncertainty, and at most.
_USUAL, _MOST = 3, 4
# So small are what sums of equal numbers differ by.
_NOTHING = 1e-9


def with_deviation(value: float, deviation: float | None = None) -> str:
    """Return a number with its deviation, of which two digits count; alone with three digits where there is none.

    Examples
    --------
    >>> with_deviation(0.91372, 0.01634), with_deviation(0.8, 0.14142), with_deviation(0.91372)
    ('0.914 ± 0.016', '0.80 ± 0.14', '0.914')
    """
    if is_missing(value):
        return ""
    if deviation is None or is_missing(deviation):
        return f"{value:.{_USUAL}f}"
    digits = _digits(deviation)
    return f"{value:.{digits}f} ± {deviation:.{digits}f}"


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """Return a number with the ends of its interval, half of whose width counts as `with_deviation` counts a deviation.

    Examples
    --------
    >>> with_interval(0.91372, 0.87108, 0.94249), with_interval(0.91372, None, None)
    ('0.914 (0.871 to 0.942)', '0.914')
    """
    if is_missing(value) or low is None or high is None or is_missing(low) or is_missing(high):
        return with_deviation(value)
    digits = _digits((high - low) / 2)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _digits(uncertainty: float) -> int:
    """Return how many digits behind the point there are, so that an uncertainty has two that count."""
    rounded = float(f"{abs(uncertainty):.1e}")  # 0.0996 has two digits as 0.10
    if rounded < _NOTHING or not math.isfinite(rounded):
        return _USUAL
    return min(max(1 - math.floor(math.log10(rounded)), 0), _MOST)

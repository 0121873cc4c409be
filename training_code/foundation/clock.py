"""The time, as everything that is kept holds it, and durations as people read them."""

import datetime


def now() -> str:
    """Return the time to the second with the time zone, as ISO 8601 has it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """Return a time as people read it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"

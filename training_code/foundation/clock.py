"""The time, as everything that is kept holds it."""

import datetime


def now() -> str:
    """Return the time to the second with the time zone, as ISO 8601 has it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")

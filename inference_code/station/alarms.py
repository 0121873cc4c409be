"""What is known of drift at a station: its watches and the alarms that stand, as its ledger keeps them."""

import json
import sqlite3
from typing import Any, Protocol

from inference_code.station.filing import safe
from inference_code.station.watches import Watch
from training_code.foundation.files import digest

#: Pictures of alarms lie in this folder of the output.
FOLDER = "drift"


class Readable(Protocol):
    """The ledger of a station, for those who only read it."""

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a query finds."""
        ...


def rows_of_watches(ledger: Readable) -> dict[str, tuple[str, float | None]]:
    """Return of each watch, by its name, its state as text, and since when there is an alarm."""
    rows = ledger.rows("SELECT name, state, alarm FROM watches ORDER BY rowid")
    return {row["name"]: (row["state"], row["alarm"]) for row in rows}


def name_of(run: str, quantity: str) -> str:
    """Return the name of a watch."""
    return f"{run}/{quantity}"


def stored(ledger: Readable) -> dict[tuple[str, str], Watch]:
    """Return the watches that a ledger keeps, by run and quantity."""
    found = {}
    for name, (state, _) in rows_of_watches(ledger).items():
        run, _, quantity = name.rpartition("/")
        found[run, quantity] = Watch(**json.loads(state))
    return found


def alarms(ledger: Readable) -> list[dict[str, Any]]:
    """Return the alarms that stand.

    Each has its ``text``, ``since`` when it stands in seconds since the epoch, and its ``picture``: a path below the
    output folder of the station.
    """
    kept = {name: alarm for name, (_, alarm) in rows_of_watches(ledger).items() if alarm is not None}
    watches = {name_of(*of): watch for of, watch in stored(ledger).items()} if kept else {}
    return [
        {"text": watches[name].text, "since": alarm, "picture": picture_of(name, alarm)} for name, alarm in kept.items()
    ]


def picture_of(name: str, alarm: float) -> str:
    """Return where the picture of an alarm lies below the output folder."""
    # With a digest, since long names are cut, and there may be two alarms in a second.
    return f"{FOLDER}/{safe(name)}-{alarm:.0f}-{digest([name, alarm])[:8]}.svg"

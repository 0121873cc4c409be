"""What a station's ledger says, in Prometheus' text format."""

from collections.abc import Mapping

from inference_code.station.alarms import Readable, stored
from inference_code.verdicts import VERDICTS


def station_metrics(ledger: Readable) -> str:
    """Return counters and gauges of a station in Prometheus' text format.

    Its counts are those of the ledger, so that they go on where they were when the station, or the service, starts
    again.
    """
    watches = [
        (f'run="{_escaped(run)}",quantity="{quantity}"', watch) for (run, quantity), watch in stored(ledger).items()
    ]
    verdicts = dict.fromkeys(VERDICTS, 0) | _counts(ledger, "parts", "verdict")
    states = _counts(ledger, "photographs", "state")
    waiting = ledger.rows("SELECT count(*) AS open FROM parts WHERE verdict IS NULL")[0]["open"]
    return (
        _family("parts_total", "counter", "Parts by verdict.", _by("verdict", verdicts))
        + _family("photographs_total", "counter", "Photographs by state.", _by("state", states))
        + _family("open_parts", "gauge", "Parts without a verdict.", {"": waiting})
        + _family(
            "drift_capital",
            "gauge",
            "Capital of each test martingale now.",
            {labels: watch.capital for labels, watch in watches},
        )
        + _family(
            "drift_evidence",
            "gauge",
            "Strongest evidence so far: 1 in so many; 100 is an alarm.",
            {labels: watch.evidence for labels, watch in watches},
        )
        + _family(
            "drift_alarm",
            "gauge",
            "1 while an alarm stands.",
            {labels: int(watch.alarm is not None) for labels, watch in watches},
        )
    )


def _counts(ledger: Readable, table: str, column: str) -> dict[str, int]:
    query = f"SELECT {column} AS kind, count(*) AS number FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"
    return {row["kind"]: row["number"] for row in ledger.rows(query)}


def _family(name: str, kind: str, text: str, values: Mapping[str, float]) -> str:
    name = f"anomaly_station_{name}"
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"


def _by(label: str, counts: dict[str, int]) -> dict[str, int]:
    return {f'{label}="{_escaped(value)}"': count for value, count in counts.items()}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

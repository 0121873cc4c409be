"""``python -m inference_code.station.status DIR``: what a station has judged, and what its watches say.

The station may be at work meanwhile. An alarm for drift stays until watching is begun anew with --reset.
"""

import argparse
import contextlib
import getpass
import sqlite3
import sys
import time
from pathlib import Path

from inference_code.ranges import FIRST, STATION, TRAINING
from inference_code.station.alarms import alarms, stored
from inference_code.station.drift import draw, reset
from inference_code.station.ledger import Ledger
from inference_code.station.schema import FOUND, LEDGER
from inference_code.station.watches import ALPHA, Watch
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

#: The exit status where there is an alarm.
ALARM = 3


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    folder = paths.expanded(options.folder)
    if not (folder / LEDGER).is_file():
        raise InputError(f"{folder} has no {LEDGER}; valid: the folder that anomaly station got as --output")
    if options.by is not None and options.reset is None:
        raise InputError("--by says who ends alarms; valid: with --reset")
    ledger = Ledger(folder / LEDGER)
    try:
        if options.reset is not None:
            if not stored(ledger):
                raise InputError(f"{folder}: nothing is watched yet; valid: after the first photograph was judged")
            ended = reset(ledger, options.by or _user(), time.time(), options.reset or None)
            print(f"watching begins anew; {ended} alarms ended")
        else:
            with contextlib.suppress(OSError):  # the station draws it where this user may not write
                draw(ledger, folder)
        print("\n".join(described(ledger, folder)))
        return ALARM if alarms(ledger) else 0
    except (sqlite3.Error, OverflowError) as error:  # damaged, or held by another program
        raise InputError(f"{folder / LEDGER} cannot be read or changed: {error}") from error
    finally:
        ledger.close()


def described(ledger: Ledger, folder: Path) -> list[str]:
    """Return what a person wants to know of a station, line by line."""
    now = time.localtime()
    today = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))
    lines = [f"parts {when}: {_counted(ledger.totals(since))}" for when, since in (("today", today), ("ever", 0.0))]
    lines.append(f"open parts: {len(ledger.open_parts())}")
    views = "SELECT view, count(*) AS seen, sum(abnormal) AS bad FROM photographs WHERE state = ? GROUP BY view"
    for row in ledger.rows(views, FOUND):
        lines.append(f"view {row['view']}: {(row['bad'] or 0) / row['seen']:.1%} of {row['seen']} photographs abnormal")
    for row in ledger.rows("SELECT source, came FROM photographs ORDER BY id DESC LIMIT 1"):
        lines.append(f"last photograph: {row['source']}, {_moment(row['came'])}")
    watches = stored(ledger)
    lines += [f"watch {run}/{quantity}: {_state(watch)}" for (run, quantity), watch in watches.items()]
    for found in alarms(ledger):
        lines.append(f"alarm since {_moment(found['since'])}: {found['text']} ({folder / found['picture']})")
    resets = {(each["at"], each["by"]) for watch in watches.values() for each in watch.resets}
    lines += [f"watching was begun anew {_moment(at)} by {by}" for at, by in sorted(resets)[-1:]]
    return lines


def _state(watch: Watch) -> str:
    if watch.alarm is not None:
        return "alarm"
    if not watch.of:
        return "begins anew with the next photograph"
    if watch.first is not None:
        return f"waits for the first {FIRST} photographs to compare with, {len(watch.first)} came"
    against = "" if not watch.quantiles else f" compared with {_REFERENCES[watch.against]}"
    evidence = f"strongest evidence 1 in {watch.evidence:.3g}, of 1 in {1 / ALPHA:.0f} for an alarm"
    return f"{watch.steps} photographs{against}, {evidence}"


_REFERENCES = {TRAINING: "good images of training", STATION: "the first ones of the station"}


def _counted(totals: dict[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in totals.items())


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # in a container without a user
        return "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "inference_code.station.status", __doc__, f"Exit status: 0, or {ALARM} with an alarm; 2 wrong input."
    )
    parser.add_argument("folder", help="the folder that anomaly station got as --output")
    parser.add_argument(
        "--reset",
        nargs="?",
        const="",
        choices=("", TRAINING, STATION),
        metavar=f"{TRAINING}|{STATION}",
        help="end alarms and begin watching anew; with station, what comes from now on is compared with the next "
        f"{FIRST} photographs, where a change is there to stay",
    )
    parser.add_argument("--by", help="who resets it, which is kept (default: the user)")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))

"""``python -m training_code.rethreshold RUN… --rule RULE``: put another rule for thresholds in force for stored runs.

Nothing is trained: each run has kept what every rule gives. What the rules promise is in docs/decisions.md.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, run_command, suggestion, unknown
from training_code.foundation.program import command_parser
from training_code.protocol import RULES_BY_ALPHA, THRESHOLD_RULES, ExperimentProtocol

if TYPE_CHECKING:
    from training_code.records.store import RunStore


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if a run could not be given thresholds by the rule."""
    options = _parser().parse_args(arguments)
    if options.all == bool(options.run):
        raise InputError("runs are named, or --all stands for all that ended well: valid is one of the two")
    if options.rule not in THRESHOLD_RULES:
        raise unknown("rule", options.rule, THRESHOLD_RULES)
    protocol = ExperimentProtocol(threshold=options.rule)
    if options.alpha is not None:
        if options.rule not in RULES_BY_ALPHA:
            raise InputError(f"--alpha has no effect on the rule {options.rule}; valid for: {choices(RULES_BY_ALPHA)}")
        protocol = dataclasses.replace(protocol, alpha=options.alpha)

    # Only now, so that --help and wrong arguments are answered at once: scipy takes half a second.
    from training_code.records.leases import LostLeaseError

    done = left = 0
    for store, run_id in list(_runs(options)):  # all are found before one is changed
        try:
            print(_change(store, run_id, protocol, options.alpha))
            done += 1
        except (ValueError, OSError, LostLeaseError) as error:  # one run costs no other one
            print(f"{run_id}: not changed: {error}", file=sys.stderr)
            left += 1
    print(f"{done} runs have {options.rule} thresholds" + (f", {left} cannot have them" if left else ""))
    return 1 if left else 0


def _change(store: "RunStore", run_id: str, protocol: ExperimentProtocol, alpha: float | None) -> str:
    """Put the rule in force for one run; return the line that says so."""
    # Here, as in `main`.
    from training_code.records.promises import promise, wants_other_thresholds
    from training_code.records.reading import read_record
    from training_code.records.rethresholding import change_in_words, put_in_force

    with store.locked(run_id):
        folder = store.find(run_id)
        record = read_record(folder)
        if record is None or record.status != "ok":
            raise InputError(f"it did not end well: {record.status if record else 'it is unfinished'}")
        own = record.identity.protocol
        wanted = dataclasses.replace(own, threshold=protocol.threshold, alpha=own.alpha if alpha is None else alpha)
        if not wants_other_thresholds(record, wanted):
            return f"{run_id}: in force already; {promise(record)}"
        changed = put_in_force(store, folder, record, wanted)
    exports = "; what is in exports/ keeps the earlier ones: export it again" if (folder / "exports").is_dir() else ""
    return f"{run_id}: {change_in_words(record, changed)}{exports}"


def _runs(options: argparse.Namespace) -> "Iterator[tuple[RunStore, str]]":
    """Return the runs that are asked for, each once, each with the store that it is in."""
    # Here, as in `main`.
    from training_code.records.reading import read_records
    from training_code.records.store import RunStore

    results = paths.from_home(options.results)
    store = RunStore(results)
    if options.all:
        runs, problems = read_records(results)
        for problem in problems:
            print(f"not read: {problem}", file=sys.stderr)
        # Two folders may hold one run, made by two versions: the one that is found by its name is changed.
        good = dict.fromkeys(record.identity.run_id for _, record in runs if record.status == "ok")
        if not good:
            raise InputError(f"{results} holds no run that ended well")
        yield from ((store, run_id) for run_id in good)
        return
    for run in dict.fromkeys(options.run):
        yield _find(store, run)


def _find(store: "RunStore", run: str) -> "tuple[RunStore, str]":
    """Return the store and the name of a run given by its id or its folder."""
    if Path(run).name == run and store.find(run).is_dir():
        return store, run
    folder = paths.from_home(run)
    if run.strip() and folder.is_dir() and folder.parent.name == "runs":
        return type(store)(folder.parent.parent), folder.name
    known = sorted(entry.name for entry in (store.results / "runs").glob("[!.]*/"))
    raise InputError(
        f"there is no run {run!r} in {store.results}{suggestion(run, known)}; valid: {choices(known) or 'none yet'}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "training_code.rethreshold",
        __doc__,
        "Exit status: 0 all runs have thresholds by the rule, 1 a run cannot have them, 2 wrong input.",
    )
    parser.add_argument("run", nargs="*", metavar="RUN", help="the id or folder of a run; several may be named")
    parser.add_argument("--all", action="store_true", help="all runs that ended well, in place of RUN")
    parser.add_argument("--rule", required=True, help=f"one of {choices(THRESHOLD_RULES)}")
    parser.add_argument(
        "--alpha", type=float, help="part of new good images that may be refused, as 0.01 (default: that of the run)"
    )
    parser.add_argument("--results", default="results", help="folder with the runs (default: results)")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))

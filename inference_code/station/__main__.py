"""``python -m inference_code.station RUN INBOX --output DIR``: judge parts by their photographs as these come in.

Photographs of a part, from one or several views, come into a folder. They are put together by their names, looked at
by the detector of a run, and moved to DIR/<day>/<part>/ with overlays, masks and verdict.json. A ledger in DIR keeps
every verdict: a station that was killed goes on where it was, and judges no part twice. Nothing is deleted.
With --port a page shows what the station does, and takes corrections.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from inference_code.arguments import add_run_options, check_numbers, choice, load_options, tell
from inference_code.ranges import AREAS, AUTO, COMPARED_WITH, DILATIONS, FIRST, SHARES, TRAINING, WAITS
from inference_code.service.listening import LOCAL_HOST, Door, add_door_options, open_door
from inference_code.station.grouping import PATTERN, ByFolder, ByPattern, Expected, Grouping, InTurn
from inference_code.station.schema import LEDGER
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import cleaning_up_at_sigterm, command_parser

LOCK = ".station.lock"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    check_numbers(
        options, part_timeout=WAITS, settle=WAITS, poll=WAITS, again_after=(0, 1e6), dilate=DILATIONS, min_area=AREAS
    )
    check_numbers(options, expected_bad=SHARES)
    if options.port is None:
        if options.api_key_file is not None or options.host != LOCAL_HOST:
            raise InputError("--host and --api-key-file are about the page; valid: with --port")
        return _work(options, None)
    with open_door(options.host, options.port, options.api_key_file) as door:
        return _work(options, door)


def _work(options: argparse.Namespace, door: Door | None) -> int:
    own = _own_runs(options.view)
    expected = Expected.of(options.views, list(own))
    grouping = _grouping(options)
    inbox, output = _folders(options)

    # Only now, since --help and wrong arguments need none of it.
    from filelock import FileLock, Timeout

    from inference_code.station.sinks import Courier, open_sink
    from inference_code.verdicts import check_rule

    rule = check_rule(options.rule, options.alpha)
    sinks = [open_sink(given) for given in options.sink]
    needs_default = not expected.names or set(expected.names) - set(own)
    if needs_default and options.run is None:
        raise InputError("no run for views without one of their own; give RUN, or --view NAME=RUN for each view")

    if door is not None:
        from inference_code.station.page.beside import PageProcess

    # Only now: torch and anomalib take 5 to 20 s to import.
    from inference_code.loading import load_predictor
    from inference_code.output import Drawing
    from inference_code.station.drift import Drift
    from inference_code.station.inbox import Inbox
    from inference_code.station.ledger import Ledger
    from inference_code.station.running import run
    from inference_code.station.station import Station, Way
    from inference_code.station.viewing import DetectorViewer
    from inference_code.station.views import Viewers
    from inference_code.station.watches import Reference

    drawing = Drawing(not options.no_pictures, options.dilate, options.min_area)
    loaded: dict[str, DetectorViewer] = {}
    references: dict[str, Reference] = {}

    def viewer(given: str) -> DetectorViewer:
        if given not in loaded:
            chosen = choice(options, given, options.run, *own.values())
            found = load_predictor(given, options.results, *chosen, load_options(options), tell)
            loaded[given] = DetectorViewer(found, drawing, rule.by_p_values)
            left_out = found.record.calibration is not None and found.record.calibration.way == "leave one out"
            only_looks = not found.scores_as_calibrated or (left_out and options.compared_with == AUTO)
            references[loaded[given].run] = Reference.read(found.folder, found.thresholds.image, only_looks)
        return loaded[given]

    viewers = Viewers(
        viewer(options.run) if needs_default else None, {name: viewer(given) for name, given in own.items()}
    )
    way = Way(grouping, expected, rule, options.part_timeout, 3600 * options.again_after)
    with contextlib.ExitStack() as stack:
        try:
            for folder in (inbox, output):
                stack.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout as error:
            raise InputError(f"another station is at work there: {Path(error.lock_file).parent}") from None
        ledger = Ledger(output / LEDGER)
        stack.callback(ledger.close)
        for sink in sinks:
            stack.enter_context(Courier(sink, ledger.path, output))
        if door is not None:
            stack.enter_context(PageProcess(output, door))
        station = Station(Inbox(inbox, options.settle), output, ledger, way, viewers, _say)
        against = TRAINING if options.compared_with == AUTO else options.compared_with
        station.drift = Drift(ledger, references, options.expected_bad, against)
        for sentence in station.drift.doubts():
            _say(sentence)
        print(f"waiting for photographs in {inbox}; Ctrl-C ends", flush=True)
        try:
            with cleaning_up_at_sigterm():
                run(station, options.poll, options.once)
        finally:
            totals = ledger.totals()
            print(", ".join(f"{count} {verdict}" for verdict, count in totals.items()), flush=True)
    return 0


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _own_runs(given: list[str]) -> dict[str, str]:
    """Return the runs of views that have their own."""
    found: dict[str, str] = {}
    for each in given:
        name, _, run = each.partition("=")
        if not name or not run:
            raise InputError(f"--view {each!r} is not NAME=RUN, as in --view top=padim-0123456789")
        if name in found:
            raise InputError(f"--view {name} is given twice")
        found[name] = run
    return found


def _grouping(options: argparse.Namespace) -> Grouping:
    if options.by_folder:
        return ByFolder()
    return InTurn() if options.in_turn else ByPattern(options.pattern)


def _folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """Return inbox and output; both are there."""
    inbox, output = paths.expanded(options.inbox).absolute(), paths.expanded(options.output).absolute()
    if not inbox.is_dir():
        raise InputError(f"{inbox} is no folder; valid: the folder that photographs come into")
    if inbox.resolve().is_relative_to(output.resolve()) or output.resolve().is_relative_to(inbox.resolve()):
        raise InputError(f"{inbox} and {output} lie in each other; valid: two folders beside each other")
    output.mkdir(parents=True, exist_ok=True)
    return inbox, output


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("inference_code.station", __doc__)
    parser.add_argument("run", nargs="?", help="the id or folder of the run for views that have none of their own")
    parser.add_argument("inbox", help="the folder that photographs come into")
    parser.add_argument("--output", required=True, help="folder for parts, verdicts and the ledger")
    parser.add_argument(
        "--views", default="", metavar="N|NAMES", help="how many views a part has, or their names: top,side"
    )
    parser.add_argument(
        "--view", action="append", default=[], metavar="NAME=RUN", help="the run for a view; may be given several times"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--pattern", default=PATTERN, metavar="REGEX", help=f"groups 'part' and 'view' of names (default: {PATTERN})"
    )
    how.add_argument("--by-folder", action="store_true", help="a folder in the inbox is a part, a file in it a view")
    how.add_argument(
        "--in-turn", action="store_true", help="as many photographs as views, one after the other, are a part"
    )
    parser.add_argument(
        "--rule",
        default="any",
        help="any or all: a part is bad if one view is, or every one; bonferroni or fisher: by the p-value of all "
        "views together (default: any)",
    )
    parser.add_argument("--alpha", type=float, default=0.05, help="good parts that p-values may refuse (default: 0.05)")
    parser.add_argument(
        "--part-timeout",
        type=float,
        default=30.0,
        help="seconds until a part is judged without all views (default: 30)",
    )
    parser.add_argument(
        "--again-after", type=float, default=24.0, help="hours until a name is a new part again (default: 24)"
    )
    parser.add_argument("--settle", type=float, default=0.5, help="seconds until a file is complete (default: 0.5)")
    parser.add_argument("--poll", type=float, default=0.2, help="seconds between two looks at the inbox (default: 0.2)")
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="where verdicts are sent, too: a file that gets lines of JSON, a webhook, or mqtt://host/topic; may be "
        "given several times",
    )
    parser.add_argument(
        "--expected-bad",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="the part of photographs that may be abnormal without an alarm for drift (default: 0.1)",
    )
    parser.add_argument(
        "--compared-with",
        choices=COMPARED_WITH,
        default=AUTO,
        help=f"what photographs are compared with for drift: good images of the run, or the first {FIRST} that come to "
        f"the station; {AUTO}: their looks with those of training, scores and maps too if its images were held out",
    )
    parser.add_argument("--port", type=int, help="show the page of the station there, at /station; 0 for any port")
    add_door_options(parser)
    parser.add_argument("--once", action="store_true", help="end as soon as nothing waits any more")
    parser.add_argument("--no-pictures", action="store_true", help="write no overlays and masks")
    parser.add_argument("--dilate", type=int, default=0, help="pixels by which abnormal regions grow (default: 0)")
    parser.add_argument(
        "--min-area", type=int, default=0, help="pixels below which a region is passed over (default: 0)"
    )
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))

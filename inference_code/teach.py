"""``python -m inference_code.teach RUN IMAGES``: have a run take in good photographs that it refused.

Nothing is trained anew: a memory bank gets those of their patches that lie far from it, sums are merged. Thresholds are
calibrated again. What is changed on images that were not taught is counted, before and after. The run itself stays as
it is, and --undo removes all that it was taught.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inference_code.arguments import add_choice_options, tell
from training_code.data.corrected import GOOD, read_corrected
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

if TYPE_CHECKING:
    from training_code.records.record import Record
    from training_code.records.store import RunStore

#: Times that a photograph counts in sums, at most.
MOST = 1000


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    given = bool(options.images) + (options.station is not None) + options.undo
    if given != 1:
        raise InputError("what is done is not clear; valid: photographs, --station DIR, or --undo, one of the three")
    if options.undo and (options.weight is not None or options.check):
        raise InputError("--undo removes all that was taught; valid with it: neither --weight nor --check")
    if options.weight is not None and not 1 <= options.weight <= MOST:
        raise InputError(f"--weight {options.weight} is out of range; valid: 1 to {MOST}")

    # Only now, so that --help and wrong arguments are answered at once: scipy takes half a second.
    from inference_code.runs import find_run
    from training_code.records.store import RunStore

    folder = find_run(options.run, paths.from_home(options.results), options.dataset, options.criterion, tell)
    if folder.parent.name != "runs":
        raise InputError(f"{folder} is no folder of a run among others; valid: RESULTS/runs/RUN, or the id of a run")
    store, run_id = RunStore(folder.parent.parent), folder.name
    photographs = {} if options.undo else _photographs(options, run_id)

    # Only now: torch and anomalib take 5 to 20 s to import.
    from training_code.teaching import Lesson, forget, teach

    if options.undo:
        taught = forget(store, run_id)
        print(f"{run_id}: as it was trained, without the {len(taught.images)} photographs that it was taught")
        return 0
    record = teach(store, run_id, Lesson(photographs, options.weight, tuple(options.check)))
    _tell(record, store)
    return 0


def _photographs(options: argparse.Namespace, run_id: str) -> Mapping[Path, str]:
    """Return the photographs that are to be taught, each with its part."""
    if options.station is None:
        return _files(options.images)
    station = paths.expanded(options.station).absolute()
    good = [part for part in read_corrected(station) if part.said == GOOD]
    marked = [(part, view) for part in good for view in part.views if view.marked]
    own = {view.path: f"{station.name}/{part.folder}" for part, view in marked if view.run == run_id}
    found = {path: part for path, part in own.items() if path.is_file()}
    if len(found) < len(own):
        if not found:
            raise InputError(f"none of the {len(own)} photographs of {station} to teach is there any more")
        print(f"{len(own) - len(found)} photographs are left out, which are no longer in {station}")
    if not found:
        others = sorted({view.run for _, view in marked})
        raise InputError(
            f"no photograph that {run_id} had marked is of a part in {station} that a person called good"
            + (f"; there are some of {', '.join(others)}" if others else "")
        )
    return found


def _files(given: Sequence[str]) -> Mapping[Path, str]:
    """Return images that are given by files and folders; each is a part of its own."""
    # As in `main`: it reads images with Pillow.
    from training_code.data.walk import find_images

    found: dict[Path, str] = {}
    for name in given:
        path = paths.expanded(name).absolute()
        images = find_images(path) if path.is_dir() else [path]
        if not path.exists() or not images:
            raise InputError(f"{path} is {'a folder without images' if path.is_dir() else 'no file'}")
        found |= {image: str(image) for image in images}
    return found


def _tell(record: "Record", store: "RunStore") -> None:
    """Say what was taught, and what that changed."""
    # As in `main`.
    from training_code.records.exports import EXPORTS
    from training_code.records.promises import promise

    taught = record.taught
    assert taught is not None
    refused, still = taught.refused
    kept = "" if taught.patches is None else f", {taught.patches} of their patches are kept"
    print(f"{record.run_id}: {len(taught.images)} photographs are taught, {refused} of which were refused{kept}")
    if still is not None:
        files = all(image.part == image.source for image in taught.images)
        part = "part (each file counts as one)" if files else "part"
        print(f"without the photographs of its own {part}, {still} of them would be refused now")
    before, after = taught.thresholds
    print(f"threshold of images {before:.4g} → {after:.4g}; {promise(record)}")
    for report in taught.reports:
        left = f"; {report.left_out} images that show what was taught are left out" if report.left_out else ""
        print(
            f"{report.images}: false alarms {report.false_alarms[0]} → {report.false_alarms[1]} of {report.good}, "
            f"misses {report.misses[0]} → {report.misses[1]} of {report.defective}{left}"
        )
    exports = store.folder(record.run_id) / EXPORTS
    if exports.is_dir() and any(exports.iterdir()):
        print(f"what is in {EXPORTS}/ was taught nothing: export it again")
    print(f"services and stations get it when they are started again; anomaly teach {record.run_id} --undo removes it")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("inference_code.teach", __doc__)
    parser.add_argument("run", metavar="RUN", help="the id or folder of a run of PatchCore or PaDiM, or best")
    parser.add_argument("images", nargs="*", metavar="IMAGES", help="good photographs: files, or folders of them")
    parser.add_argument(
        "--station",
        metavar="DIR",
        help="in place of IMAGES: those of a station that RUN had marked, of parts that people called good",
    )
    parser.add_argument(
        "--weight",
        type=int,
        help="how many times each photograph counts in the sums of PaDiM (default: as those of before, at first 1)",
    )
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="DATASET",
        help="a labelled dataset whose test images are looked at, too; may be given several times",
    )
    parser.add_argument("--undo", action="store_true", help="remove all that the run was taught")
    add_choice_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))

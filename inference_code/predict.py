"""``python -m inference_code.predict RUN SOURCE --output DIR``: scores, masks and pictures of new images."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from inference_code.arguments import add_run_options, check_numbers, choice, load_options, tell
from inference_code.ranges import ANNOTATIONS, AREAS, BATCH_SIZES, DILATIONS, PICKS, WAITS
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

if TYPE_CHECKING:
    from inference_code.output import Output
    from inference_code.predictor import Predictor
    from inference_code.sources.frames import FrameSource


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if an image could not be read."""
    options = _parser().parse_args(arguments)
    check_numbers(options, batch_size=BATCH_SIZES, max_latency=WAITS, reconnect=WAITS, dilate=DILATIONS, min_area=AREAS)
    folder = _check_output(options)

    # Only now, since --help and wrong arguments need no OpenCV, which takes 0.1 s to import.
    from inference_code.sources.opening import open_source

    written = [folder / name for name in ("overlays", "masks")]
    source = open_source(options.source, options.watch, written, options.reconnect)

    _check_named(options, source)

    # Only now, so that a source that is not there is told at once: torch and anomalib take 5 to 20 s to import.
    from inference_code.following import follow
    from inference_code.labeling import Labeling
    from inference_code.loading import load_predictor
    from inference_code.output import Drawing, Output
    from inference_code.promises import promised
    from inference_code.references import GoldenSamples
    from inference_code.thresholds import choose_thresholds, found_by

    samples = GoldenSamples(options.reference, options.source) if options.reference is not None else None
    dataset, criterion = choice(options, options.run, options.compare)
    predictor = load_predictor(options.run, options.results, dataset, criterion, load_options(options), tell)
    predictor.check_references(samples is not None)
    predictor.thresholds = choose_thresholds(predictor, options.threshold, options.pixel_threshold)
    labeling = Labeling(options, predictor, folder, samples)
    drawing = Drawing(not options.no_pictures, options.dilate, options.min_area)
    promise = promised(predictor.record, predictor.thresholds, found_by(options.threshold))
    output = Output(folder, drawing, predictor.record.dataset.bits, promise)
    start = time.monotonic()
    with output:
        dropped = follow(predictor, source, output, options.batch_size, options.max_latency, samples)
    _summarise(predictor, source, output, time.monotonic() - start, dropped)
    labeling.write()
    return 1 if output.failed or source.problem else 0


def _check_output(options: argparse.Namespace) -> Path:
    """Return the folder that is written to; raise an `InputError` if options do not fit together."""
    if not options.output.strip():
        raise InputError("--output names no folder; valid: . for the working folder, or any other")
    if options.most_useful is not None:
        check_numbers(options, most_useful=PICKS)
    elif options.compare is not None or options.not_again:
        given = "--compare" if options.compare is not None else "--not-again"
        raise InputError(f"{given} says which images --most-useful picks; give their number, as in --most-useful 20")
    return paths.expanded(options.output)


def _check_named(options: argparse.Namespace, source: "FrameSource") -> None:
    """Raise an `InputError` if frames of videos, which are no files, would have to be labeled."""
    for given, option in ((options.annotations, "--annotations"), (options.most_useful, "--most-useful")):
        if given and not source.named:
            raise InputError(f"{option} is for images that are files; valid: an image, a folder, or a pattern")


def _summarise(predictor: "Predictor", source: "FrameSource", output: "Output", seconds: float, dropped: int) -> None:
    rate = (output.predicted + output.failed) / max(seconds, 1e-9)
    record = predictor.record
    print(f"{output.predicted} images predicted with {record.run_id}, {output.failed} unreadable, {rate:.1f} images/s")
    if predictor.thresholds.image is None:
        print("nothing is called normal or abnormal: the run found no threshold (--threshold gives one)")
    else:
        print(f"{output.abnormal} abnormal: with a score of {predictor.thresholds.image:.4g} or more")
    if output.promised is not None:
        # Here, as in `main`.
        from inference_code.promises import ADVICE

        print(output.promised.sentence + ("" if output.promised.image is not None else f" ({ADVICE})"))
    if source.live:
        half, most, nearly = (1000 * seconds for seconds in output.latencies_at(50, 95, 99))
        print(f"from camera to table: 50% of the frames in {half:.0f} ms, 95% in {most:.0f} ms, 99% in {nearly:.0f} ms")
        reconnected = getattr(source, "reconnected", 0)
        print(f"{dropped} frames dropped because they were late; {reconnected} times lost and found again")
    if source.problem:
        print(f"error: {source.problem}", file=sys.stderr)
    print(f"written: {output.folder / 'predictions.csv'}, predictions.jsonl beside it", end="")
    print(", overlays and masks" if output.drawing.pictures else "")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "inference_code.predict",
        __doc__,
        "Exit status: 0 all predicted, 1 an image could not be read or a stream was lost, 2 wrong input.",
    )
    parser.add_argument("run", help="the id or folder of a run, or best")
    parser.add_argument(
        "source",
        help="an image, a folder, a pattern such as 'images/**/*.png', a video, camera:0, rtsp:// or http:// address",
    )
    parser.add_argument("--output", required=True, help="folder for predictions.csv, overlays and masks")
    parser.add_argument(
        "--reference",
        metavar="FILE|FOLDER",
        help="the golden sample that every image is compared with, or a folder in which each image has its own, of the "
        "same path or name; needed where the run was made with references",
    )
    parser.add_argument(
        "--threshold",
        help="raw score from which on an image is abnormal, or 99%% for that quantile of the good test images; it "
        "promises nothing, as that of anomaly rethreshold does (default: the run's)",
    )
    parser.add_argument(
        "--pixel-threshold", type=float, help="raw score from which on a pixel is abnormal (default: the run's)"
    )
    parser.add_argument(
        "--dilate", type=int, default=0, help="pixels by which abnormal regions grow, up to 255 (default: 0)"
    )
    parser.add_argument(
        "--min-area", type=int, default=0, help="pixels below which a region is passed over (default: 0)"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="images that are predicted at once (default: 8)")
    parser.add_argument("--no-pictures", action="store_true", help="write the tables only")
    parser.add_argument(
        "--annotations",
        action="append",
        choices=sorted(ANNOTATIONS),
        help="write the abnormal regions as annotations to correct, too: annotations.json of COCO, or annotations.xml "
        "of CVAT for images; may be given twice",
    )
    parser.add_argument(
        "--most-useful",
        type=int,
        metavar="N",
        help="write most_useful.csv with the N images worth labeling next: near the threshold, and no two alike",
    )
    parser.add_argument(
        "--compare", metavar="RUN", help="for --most-useful: a second run; images on which the two disagree go first"
    )
    parser.add_argument(
        "--not-again",
        action="append",
        default=[],
        metavar="CSV",
        help="for --most-useful: an earlier table, whose images and their like are not picked; may be repeated",
    )
    parser.add_argument("--watch", action="store_true", help="follow a folder until Ctrl-C: predict what comes into it")
    parser.add_argument(
        "--max-latency", type=float, default=1.0, help="seconds after which frames of cameras are dropped (default: 1)"
    )
    parser.add_argument(
        "--reconnect", type=float, default=60.0, help="seconds for which a lost camera is tried again (default: 60)"
    )
    add_run_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))

"""Arguments that several commands have in common, and what checks their numbers."""

import argparse
import math
import sys

from inference_code.ranges import BEST
from inference_code.runtimes import RUNTIMES, LoadOptions
from training_code.foundation.errors import InputError


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a run is and what computes it."""
    add_choice_options(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: auto)")
    parser.add_argument(
        "--precision", help="float32, bfloat16, or on a GPU float16; int8 for an exported file (default: the run's)"
    )
    parser.add_argument(
        "--runtime",
        default=RUNTIMES[0],
        choices=RUNTIMES,
        help="what computes: the run itself, or what python -m inference_code.export made of it (default: torch)",
    )
    parser.add_argument(
        "--trust-changed", action="store_true", help="load a checkpoint that is not the one that the run wrote"
    )


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where runs are, and which of them is the best one."""
    parser.add_argument("--results", default="results", help="folder with the runs (default: results)")
    parser.add_argument("--dataset", help="for best: the dataset; needed where there are runs of several")
    parser.add_argument(
        "--criterion",
        help="for best: the metric that decides (default: the costs of a line, as the example of the sheet Decision "
        "has them)",
    )


def choice(arguments: argparse.Namespace, run: str, *others: str | None) -> tuple[str | None, str | None]:
    """Return the dataset and the criterion for a run of a command: none for one that is named beside ``best``."""
    beside = run != BEST and BEST in others
    return (None, None) if beside else (arguments.dataset, arguments.criterion)


def tell(sentence: str) -> None:
    """Tell on standard error which run is the best and what could not be read, apart from what a command prints."""
    print(sentence, file=sys.stderr, flush=True)


def check_numbers(arguments: argparse.Namespace, **ranges: tuple[float, float]) -> None:
    """Raise an `InputError` for the first option whose number is not in its range; NaN is in none."""
    for name, (least, most) in ranges.items():
        value = getattr(arguments, name)
        if not (least <= value <= most and math.isfinite(value)):
            raise InputError(f"--{name.replace('_', '-')} is {value}; valid: {least} to {most}")


def load_options(arguments: argparse.Namespace) -> LoadOptions:
    """Return how to load a detector, from the arguments that `add_run_options` added.

    Raises
    ------
    InputError
        If they do not fit together.
    """
    return LoadOptions(arguments.runtime, arguments.device, arguments.precision, arguments.trust_changed)

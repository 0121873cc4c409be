"""Arguments that `predict` and `serve` have in common, and the detector that they ask for."""

import argparse
from typing import TYPE_CHECKING

from training_code.foundation.errors import InputError

if TYPE_CHECKING:
    from inference_code.predictor import Predictor


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a run is and what computes it."""
    parser.add_argument("--results", default="results", help="folder with the runs (default: results)")
    parser.add_argument("--dataset", help="for best: the dataset on which it is the best (default: any)")
    parser.add_argument("--criterion", help="for best: the metric that decides (default: image_AUROC)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: auto)")
    parser.add_argument("--precision", help="float32, bfloat16, or on a GPU float16 (default: the run's)")
    parser.add_argument(
        "--runtime",
        default="torch",
        choices=["torch", "onnx", "openvino"],
        help="what computes: the run itself, or what python -m inference_code.export made of it (default: torch)",
    )
    parser.add_argument(
        "--trust-changed", action="store_true", help="load a checkpoint that is not the one that the run wrote"
    )


def load_predictor(run: str, options: argparse.Namespace) -> "Predictor":
    """Load a run with the options that `add_run_options` added; anomalib and torch are imported only here.

    Raises
    ------
    InputError
        If it cannot be loaded as asked.
    """
    if options.runtime == "torch":
        from inference_code.predictor import Predictor

        return Predictor.load(
            run,
            options.results,
            options.device,
            options.precision,
            options.dataset,
            options.criterion,
            options.trust_changed,
        )
    if options.device not in ("auto", "cpu") or options.precision is not None:
        raise InputError(f"--device and --precision are for --runtime torch; {options.runtime} runs on the processor")
    from inference_code.exported import ExportedPredictor

    return ExportedPredictor.load(
        run, options.runtime, options.results, options.dataset, options.criterion, options.trust_changed
    )

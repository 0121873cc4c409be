"""`follow`: from a source of frames to what is written about them."""

import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from inference_code.batches import Batches
from inference_code.images import Prepared
from inference_code.output import Output, Result, make_result
from inference_code.predictor import Predictor
from inference_code.references import GoldenSamples
from inference_code.sources.frames import Frame, FrameSource
from training_code.foundation.errors import InputError


def follow(
    predictor: Predictor,
    source: FrameSource,
    output: Output,
    batch_size: int,
    max_latency: float,
    samples: GoldenSamples | None = None,
) -> int:
    """Predict what a source gives: images are read, predicted and written at the same time; return how many were late.

    Parameters
    ----------
    max_latency
        Seconds from which on frames of live sources are dropped.
    samples
        What frames are compared with, where the detector needs that.
    """
    batches = Batches(
        source,
        lambda frame: predictor.prepare(frame.image, samples.of(frame) if samples else None),
        1 if predictor.large else batch_size,
        fill=not source.endless,
        drop_after=max_latency if source.live else None,
        ahead=not predictor.large,
    )
    try:
        with tqdm(total=source.total, unit="image", disable=None) as progress:
            for batch in batches:
                results = [*_results(predictor, batch, samples)]
                batch.clear()  # the images are let go of before results are written and the next ones are prepared
                while results:
                    if isinstance(results[0].found, str):
                        progress.write(f"error: {results[0].found}", file=sys.stderr)
                    output.put(results.pop(0))
                    progress.update()
    except KeyboardInterrupt:
        if not source.endless:  # nothing else ends those that have no end of their own
            raise
    return batches.dropped


def _results(
    predictor: Predictor,
    batch: Sequence[tuple[Frame, Prepared | InputError, float]],
    samples: GoldenSamples | None,
) -> Iterator[Result]:
    """Yield what is found in the frames of a batch, in their order."""
    predictions = iter(predictor.judge([made for _, made, _ in batch if isinstance(made, Prepared)]))
    for frame, made, came in batch:
        found = next(predictions) if isinstance(made, Prepared) else None
        yield make_result(frame, came, made, found, samples.of(frame) if samples and found else None)

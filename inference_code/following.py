"""`follow`: from a source of frames to what is written about them."""

import sys

from tqdm import tqdm

from inference_code.batches import Batches
from inference_code.images import Prepared
from inference_code.output import Output, make_result
from inference_code.predictor import Predictor
from inference_code.references import GoldenSamples
from inference_code.sources.frames import FrameSource
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
        batch_size,
        fill=not source.endless,
        drop_after=max_latency if source.live else None,
    )
    try:
        with tqdm(total=source.total, unit="image", disable=None) as progress:
            for batch in batches:
                predictions = iter(predictor.judge([made for _, made, _ in batch if isinstance(made, Prepared)]))
                for frame, made, came in batch:
                    if isinstance(made, InputError):
                        progress.write(f"error: {made}", file=sys.stderr)
                    found = next(predictions) if isinstance(made, Prepared) else None
                    reference = samples.of(frame) if samples and found else None
                    output.put(make_result(frame, came, made, found, reference))
                progress.update(len(batch))
    except KeyboardInterrupt:
        if not source.endless:  # nothing else ends those that have no end of their own
            raise
    return batches.dropped

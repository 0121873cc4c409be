"""Which training images are held out."""

from collections.abc import Sequence

import numpy as np

from training_code.data.layout import Sample


def split_validation(train: Sequence[Sample], part: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split ``train`` into the samples to train on and the held-out ones: ``part`` of them, at least 1 if above 0.

    A single image is trained on: none is held out.
    """
    count = min(max(1, round(part * len(train))), len(train) - 1) if part else 0
    order = np.random.default_rng(seed).permutation(len(train))
    held_out = set(order[:count].tolist())
    return (
        [sample for index, sample in enumerate(train) if index not in held_out],
        [sample for index, sample in enumerate(train) if index in held_out],
    )

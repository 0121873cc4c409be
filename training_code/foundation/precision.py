"""Computing convolutions in the same way in every batch, also on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Have cuDNN compute float32 in float32, by deterministic kernels that are chosen without benchmarks.

    By default it rounds what it multiplies to the 10 bits of TF32. Kernels differ between sizes of a batch, and with
    them the rounding: PaDiM's score of an image changed by 1 % with the other images of its batch.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = before

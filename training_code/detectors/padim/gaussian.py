"""PaDiM's Gaussians without dense inverse covariances, where fewer images than features make a smaller form exact.

At every position of the feature map PaDiM models the features of N images, of C dimensions, by their mean and the
covariance X'X / (N - 1) + e I, where X holds the centered features and e regularizes (Defard et al., "PaDiM", 2020,
equation 1). It scores by the Mahalanobis distance (equation 2). With N <= C the Woodbury identity

    (X'X / (N - 1) + e I)^-1 = (I - X' (e (N - 1) I + XX')^-1 X) / e

gives the same distance from a factor of N rows instead of C: d^2 = (|v|^2 - |F v|^2) / e for a centered feature v, with
F = L^-1 X and L L' = e (N - 1) I + XX'. Otherwise it is d^2 = |F v|^2 with F = L^-1 and L L' the covariance.

The difference of the first form loses digits where features vary much more than e: there F is kept in float64, if that
is still the smaller one.

Where F takes too much of the memory, it is that of the second form, of which the lower triangles are kept in 16 bits:
distances then differ by some 0.1 %, see `FactorizedGaussian.fit_batches`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from anomalib.models.components import MultiVariateGaussian
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator

from training_code.detectors.anomalib_seams import rebound
from training_code.detectors.padim.triangles import lower_triangles, whole
from training_code.detectors.padim.trimming import keep_nearest, kept_images
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.features.collected import Collected, blocks
from training_code.foundation.memory import KEPT_PART, allowed

#: What anomalib adds to the diagonal of the covariance: 0.01 (PaDiM's value), and 1e-5 before it inverts.
REGULARIZATION = 0.01 + 1e-5
#: Mean variance of the features from which on the difference of two float32 numbers costs more than 1e-5 of a distance.
LARGE_VARIANCE = 1.0
#: Memory for what is computed at once, in bytes: little enough that it stays in the processor's caches.
CHUNK_BYTES = 16 * 2**20
# Side of triangular matrices that are inverted by substitution; products are faster for larger ones.
_SUBSTITUTED = 32


class FactorizedGaussian(MultiVariateGaussian):
    """anomalib's `MultiVariateGaussian` with a factor in place of the inverse covariance.

    Parameters
    ----------
    trim
        Part of the images of each position that is left out of its Gaussian, see `keep_nearest`.

    Attributes
    ----------
    mean
        Shape (C, positions).
    factor
        Shape (positions, N or C, C), float32 or float64; packed: their lower triangles row by row, of shape
        (positions, C * (C + 1) / 2), float16.
    low_rank
        Whether ``factor`` is that of the Woodbury identity; a tensor of shape (1,), bool.

    Examples
    --------
    Features 0 and 2 have the mean 1 and the variance 2, to which `REGULARIZATION` is added: the feature 3 lies
    2 / √2.01001 away.

    >>> gaussian = FactorizedGaussian()
    >>> gaussian.fit_batches([torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1)])
    >>> round(gaussian.distances(torch.tensor([3.0]).reshape(1, 1, 1, 1)).item(), 4)
    1.4107
    """

    def __init__(self, trim: float = 0.0) -> None:
        super().__init__()
        self.trim = trim
        self.register_buffer("factor", torch.empty(0))
        self.register_buffer("low_rank", torch.zeros(1, dtype=torch.bool))

    def fit_batches(self, batches: Iterable[torch.Tensor] | Collected) -> None:
        """Fit to the features of all images, some positions at a time; they are never put together in memory.

        Parameters
        ----------
        batches
            Features of shape (images, C, height, width); at least two images in all.

        Raises
        ------
        ValueError
            If there are fewer than two images.
        """
        features = batches if isinstance(batches, Collected) else Collected(batches)
        channels, positions = features.shape[0], features.positions
        images = kept_images(features.images, self.trim)
        if images < 2:
            raise ValueError(f"{images} images are too few for a covariance; at least 2 are needed")
        packed = 4 * positions * channels * min(images, channels) > KEPT_PART * allowed()
        large = not packed and _is_large(features)
        low_rank = not packed and images * (2 if large else 1) <= channels
        rank = images if low_rank else channels
        shape = (positions, channels * (channels + 1) // 2) if packed else (positions, rank, channels)
        precision = torch.float16 if packed else torch.float64 if large and low_rank else torch.float32
        self.mean = torch.empty(channels, positions, device=features.device)
        self.factor = torch.empty(shape, dtype=precision, device=features.device)
        self.low_rank = torch.tensor([low_rank], device=features.device)

        def fit_part(flat: Sequence[torch.Tensor], begin: int, part: slice) -> None:
            into = moved(part, begin)
            # In float64, which leaves the factor exact to the precision in which it is kept.
            rows = keep_nearest(by_position(flat, part).double(), self.trim, REGULARIZATION)
            mean = rows.mean(dim=1)
            centered = rows - mean[:, None]
            self.mean[:, into] = mean.T.float()
            factor = woodbury_factor(centered, images) if low_rank else whitening(centered.mT @ centered, images)
            self.factor[into] = (lower_triangles(factor) if packed else factor).to(precision)

        each = 8 * (2 * features.images * channels + 3 * rank * max(rank, channels))
        for block in blocks(features):
            work = partial(fit_part, features.read(block), block.start)
            side_by_side(work, chunks(block.stop - block.start, each), features.device)

    def part(self, positions: slice) -> "FactorizedGaussian":
        """Return the Gaussians of some positions, which share their memory with these."""
        part = FactorizedGaussian()
        part.mean, part.factor, part.low_rank = self.mean[:, positions], self.factor[positions], self.low_rank
        return part

    def distances(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return the Mahalanobis distance of each feature.

        Parameters
        ----------
        embedding
            Shape (images, C, height, width).

        Returns
        -------
        torch.Tensor
            Shape (images, 1, height, width).
        """
        images, channels, height, width = embedding.shape
        flat = embedding.reshape(images, channels, height * width)
        squared = torch.empty(height * width, images, dtype=embedding.dtype, device=embedding.device)
        rank = channels if self.packed else self.factor.shape[1]
        unpacked = channels**2 if self.packed else 0
        for part in chunks(height * width, 8 * images * (channels + rank) + 8 * unpacked):
            factor = self.factors(part)
            centered = by_position([flat], part).to(factor.dtype)
            centered = centered - self.mean[:, part].T[:, None]
            projected = (centered @ factor.mT).square().sum(2)
            if self.low_rank:
                projected = (centered.square().sum(2) - projected) / REGULARIZATION
            squared[part] = projected.to(squared.dtype)
        return squared.T.clamp(min=0).sqrt().reshape(images, 1, height, width)

    @property
    def packed(self) -> bool:
        """Whether the factors are kept as triangles in 16 bits."""
        return self.factor.dtype == torch.float16

    def factors(self, part: slice) -> torch.Tensor:
        """Return the factors of some positions, of shape (positions, N or C, C), float32 or float64."""
        return whole(self.factor[part].float(), len(self.mean)) if self.packed else self.factor[part]

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        """Keep of triangular factors the lower half."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.factor.ndim == 3 and not self.low_rank:
            destination[f"{prefix}factor"] = lower_triangles(self.factor)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load buffers of any shape, the factor also in the precision that it was stored in."""
        stored = state_dict.get(f"{prefix}factor")
        if stored is not None:
            if stored.ndim == 2 and stored.dtype != torch.float16:
                state_dict[f"{prefix}factor"] = stored = whole(stored, len(state_dict[f"{prefix}mean"]))
            # As it was read: one that is packed is too large to be in memory twice.
            self.factor = stored.to(self.factor.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def dense(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and inverse covariance, of shape (positions, C, C), as anomalib keeps them, to export a model."""
        channels = len(self.mean)
        inverse = self.factor.new_empty(len(self.factor), channels, channels, dtype=torch.float32)
        identity = torch.eye(channels, dtype=torch.float64, device=self.factor.device)
        for part in chunks(len(self.factor), 8 * 2 * channels * channels):
            factor = self.factors(part).double()
            product = factor.mT @ factor
            inverse[part] = ((identity - product) / REGULARIZATION if self.low_rank else product).float()
        return self.mean, inverse


class FactorizedAnomalyMapGenerator(AnomalyMapGenerator):
    """anomalib's `AnomalyMapGenerator` over the distances of a `FactorizedGaussian`."""

    def __init__(self, gaussian: FactorizedGaussian) -> None:
        rebound(super().__init__, GaussianBlur2d=BandedGaussianBlur2d)()
        self.use(gaussian)

    def use(self, gaussian: FactorizedGaussian) -> None:
        """Measure distances to these Gaussians from now on."""
        self._gaussian = (gaussian,)  # in a tuple, so that it does not become a part of this module as well

    def compute_anomaly_map(
        self,
        embedding: torch.Tensor,
        mean: torch.Tensor,
        inv_covariance: torch.Tensor,
        image_size: tuple[int, int] | torch.Size | None = None,
    ) -> torch.Tensor:
        """Return the smoothed map of distances, resized to ``image_size``; mean and inverse covariance are not used."""
        return self.of_distances(self._gaussian[0].distances(embedding), image_size)

    def of_distances(
        self, distances: torch.Tensor, image_size: tuple[int, int] | torch.Size | None = None
    ) -> torch.Tensor:
        """Return the smoothed map of distances of shape (images, 1, height, width), resized to ``image_size``."""
        return self.smooth_anomaly_map(self.up_sample(distances, image_size) if image_size else distances)


def _is_large(features: Collected) -> bool:
    """Return whether features in memory vary much more than the regularization; a sample of positions tells."""
    sample = features.read(slice(0, features.positions, max(1, features.positions // 256)))
    return float(torch.cat(sample).var(dim=0).mean()) > LARGE_VARIANCE


def moved(part: slice, begin: int) -> slice:
    """Return a part of a block that begins at ``begin`` as a part of the whole."""
    return slice(part.start + begin, part.stop + begin)


def by_position(batches: Sequence[torch.Tensor], part: slice) -> torch.Tensor:
    """Return features of shape (images, C, positions) as (positions, images, C), side by side in memory.

    In two steps, each of which reads and writes whole lines of the processor's caches.
    """
    return torch.cat([batch[:, :, part].transpose(1, 2).contiguous() for batch in batches]).transpose(0, 1).contiguous()


def woodbury_factor(rows: torch.Tensor, images: int) -> torch.Tensor:
    """Return L^-1 X for each position, where X are rows with X'X as the scatter of so many images."""
    gram = rows @ rows.mT
    gram.diagonal(dim1=1, dim2=2).add_(REGULARIZATION * (images - 1))
    return torch.linalg.solve_triangular(torch.linalg.cholesky(gram), rows, upper=False)


def whitening(scatter: torch.Tensor, images: int) -> torch.Tensor:
    """Return the inverse Cholesky factor of the covariance of each position, of shape (positions, C, C)."""
    covariance = scatter / (images - 1)
    covariance.diagonal(dim1=1, dim2=2).add_(REGULARIZATION)
    return inverse_of_lower(torch.linalg.cholesky(covariance))


def inverse_of_lower(factor: torch.Tensor) -> torch.Tensor:
    """Return the inverse of lower triangular matrices, of shape (positions, n, n), recursively by halves.

    Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 14.2: as accurate as substitution.
    """
    side = factor.shape[-1]
    if side <= _SUBSTITUTED:
        identity = torch.eye(side, dtype=factor.dtype, device=factor.device)
        return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    half = side // 2
    inverse = torch.zeros_like(factor)
    upper, lower = inverse_of_lower(factor[:, :half, :half]), inverse_of_lower(factor[:, half:, half:])
    inverse[:, :half, :half], inverse[:, half:, half:] = upper, lower
    inverse[:, half:, :half] = -lower @ (factor[:, half:, :half] @ upper)
    return inverse


def side_by_side(work: Callable[[slice], None], parts: Iterable[slice], device: torch.device) -> None:
    """Do ``work`` on all parts; on a CPU, as many at once as torch has threads.

    torch factorizes the matrices of a batch one after the other, on one thread.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads, "gaussians", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(work, parts))
    torch.set_num_threads(threads)  # a thread's setting is the default of threads that start later


def chunks(positions: int, bytes_each: int) -> Iterator[slice]:
    """Return parts of the positions of nearly equal length, each of `CHUNK_BYTES` at most."""
    size = max(1, CHUNK_BYTES // bytes_each)
    size = math.ceil(positions / math.ceil(positions / size))
    return (slice(begin, min(begin + size, positions)) for begin in range(0, positions, size))

"""PatchCore with a coreset that is selected in blocks and searched in blocks, both shared between configurations."""

from collections.abc import Sequence

import torch
from anomalib import PrecisionType
from anomalib.metrics import Evaluator
from anomalib.models import Patchcore as AnomalibPatchcore
from anomalib.models.components import SparseRandomProjection
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.patchcore.torch_model import PatchcoreModel as AnomalibPatchcoreModel
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.patchcore.coreset import shared_k_center_greedy
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.foundation.cache import TensorCache, cache_key, content_key

# Distortion of distances that anomalib allows its projection.
_DISTORTION = 0.9


class PatchcoreModel(AnomalibPatchcoreModel):
    """anomalib's `PatchcoreModel` with its nearest neighbors, found in blocks.

    Attributes
    ----------
    cache
        Keeps what was found, so that configurations that differ in ``num_neighbors`` share the search; None for images
        that do not recur.
    """

    cache: TensorCache | None = None

    def __init__(self, layers: Sequence[str], backbone: str, pre_trained: bool, num_neighbors: int) -> None:
        smoothed = derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d)
        make = rebound(super().__init__, TimmFeatureExtractor=feature_extractor, AnomalyMapGenerator=smoothed)
        make(layers, backbone, pre_trained, num_neighbors)

    def nearest_neighbors(self, embedding: torch.Tensor, n_neighbors: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and rows of the nearest points, of shape (n,) for one neighbor, else (n, n_neighbors)."""
        cache = self.cache if n_neighbors == 1 else None
        key = "" if cache is None else cache_key("neighbors", content_key(self.memory_bank), content_key(embedding))
        found = None if cache is None else cache.get(key)
        if found is None:
            distances, indices = nearest_neighbors(embedding, self.memory_bank, n_neighbors)
            if cache is not None:
                cache.put(key, {"distances": distances, "indices": indices.int()})
        else:
            distances, indices = found["distances"].to(embedding), found["indices"].to(embedding.device, torch.int64)
        return (distances[:, 0], indices[:, 0]) if n_neighbors == 1 else (distances, indices)


class Patchcore(AnomalibPatchcore):
    """anomalib's `Patchcore` with its memory bank and scores, in a fraction of the time and memory.

    Parameters
    ----------
    projection
        Whether the coreset is selected among randomly projected features, as in anomalib; None for where that has fewer
        dimensions than the features. Otherwise the selection goes by the features themselves.
    others
        As in anomalib.
    """

    model: PatchcoreModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] = ("layer2", "layer3"),
        pre_trained: bool = True,
        coreset_sampling_ratio: float = 0.1,
        num_neighbors: int = 9,
        precision: str | PrecisionType = PrecisionType.FLOAT32,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        projection: bool | None = None,
    ) -> None:
        rebound(super().__init__, PatchcoreModel=PatchcoreModel)(
            backbone,
            layers,
            pre_trained,
            coreset_sampling_ratio,
            num_neighbors,
            precision,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.projection = projection

    def share(self, cache: TensorCache | None) -> None:
        """Look coresets and neighbors up in a cache and keep them there; None for images that do not recur."""
        self.model.cache = cache

    def fit(self) -> None:
        """Select the coreset of the collected embeddings and keep it as memory bank."""
        embeddings = _concatenate(self.model.embedding_store)
        count = int(len(embeddings) * self.coreset_sampling_ratio)
        features = self._projected(embeddings.float())
        # Drawn on the processor, so that a seed selects the same coreset on a GPU.
        start = int(torch.randint(len(embeddings), (1,)))
        order = shared_k_center_greedy(features, count, start, self.model.cache)
        self.model.memory_bank = embeddings[order.to(embeddings.device)]

    def _projected(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the features that the coreset is selected by."""
        projection = SparseRandomProjection(eps=_DISTORTION)
        dimensions = projection._johnson_lindenstrauss_min_dim(len(embeddings), projection.eps)
        wanted = dimensions < embeddings.shape[1] if self.projection is None else self.projection
        return projection.fit(embeddings).transform(embeddings) if wanted else embeddings


def _concatenate(parts: list[torch.Tensor]) -> torch.Tensor:
    """Put the parts together and empty the list on the way: they are never in memory twice on a CPU."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    begin = 0
    while parts:
        part = parts.pop(0)
        whole[begin : begin + len(part)] = part
        begin += len(part)
    return whole

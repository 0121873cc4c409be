"""PatchCore with a coreset that is selected in blocks and searched in blocks, both shared between configurations."""

import math
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import torch
from anomalib import PrecisionType
from anomalib.data import ImageBatch
from anomalib.metrics import Evaluator
from anomalib.models import Patchcore as AnomalibPatchcore
from anomalib.models.components import SparseRandomProjection
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.patchcore.torch_model import PatchcoreModel as AnomalibPatchcoreModel
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.leaving_out import Found, TooLittleLeftError
from training_code.detectors.patchcore.composed import PatchParts
from training_code.detectors.patchcore.coreset import shared_k_center_greedy
from training_code.detectors.patchcore.denoising import quiet_patches
from training_code.detectors.patchcore.growing import grown
from training_code.detectors.patchcore.layered import LayeredPatches, layered
from training_code.detectors.patchcore.leave_out import without_each_group
from training_code.detectors.patchcore.lists import concatenate, given_away
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.detectors.patchcore.reduction import Reduction
from training_code.detectors.patchcore.search import BankSearch
from training_code.detectors.patchcore.spec import DISTORTION, selected
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.detectors.teaching import Fitted, Teachable
from training_code.detectors.tiling import tiles_in
from training_code.foundation.cache import TensorCache, cache_key, content_key
from training_code.foundation.parts import find_executor


class _ChannelsLastPool(nn.AvgPool2d):
    """anomalib's pooling with the channels side by side in memory, in which all that follows is several times faster.

    Resizing goes over channels then, and patches become rows without another copy; the numbers are the same.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps.contiguous(memory_format=torch.channels_last))


class PatchcoreModel(AnomalibPatchcoreModel):
    """anomalib's `PatchcoreModel` with its nearest neighbors, found in blocks.

    Attributes
    ----------
    cache
        Keeps what was found, so that configurations that differ in ``num_neighbors`` share the search; None for images
        that do not recur.
    left_out
        Rows of the memory bank that are no neighbors at present, bool; None for none.
    map_size
        Height and width of the feature maps that were seen last.
    reduction
        What reduces the dimensions of patches.
    search
        What finds the nearest row by an index, where there is one.
    """

    cache: TensorCache | None = None
    left_out: torch.Tensor | None = None
    map_size: tuple[int, int] = (0, 0)

    def __init__(self, layers: Sequence[str], backbone: str, pre_trained: bool, num_neighbors: int) -> None:
        smoothed = derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d)
        make = rebound(super().__init__, TimmFeatureExtractor=feature_extractor, AnomalyMapGenerator=smoothed)
        make(layers, backbone, pre_trained, num_neighbors)
        self.feature_pooler = _ChannelsLastPool(3, 1, 1)
        self.reduction, self.search = Reduction(None), BankSearch("exact")

    def nearest_neighbors(self, embedding: torch.Tensor, n_neighbors: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and rows of the nearest points, of shape (n,) for one neighbor, else (n, n_neighbors)."""
        if self.left_out is not None:
            distances, indices = nearest_neighbors(embedding, self.memory_bank, n_neighbors, self.left_out)
            return (distances[:, 0], indices[:, 0]) if n_neighbors == 1 else (distances, indices)
        cache, index = (self.cache, self.search.index(self.memory_bank)) if n_neighbors == 1 else (None, None)
        how = [] if index is None else [self.search.chosen, math.prod(self.map_size)]
        content = [] if cache is None else [content_key(self.memory_bank), content_key(embedding)]
        key = cache_key("neighbors", *content, *how)
        found = None if cache is None else cache.get(key)
        if found is None:
            if index is None:
                distances, indices = nearest_neighbors(embedding, self.memory_bank, n_neighbors)
            else:
                distances, indices = index.search(embedding, *how)
            if cache is not None:
                cache.put(key, {"distances": distances, "indices": indices.int()})
        else:
            distances, indices = found["distances"].to(embedding), found["indices"].to(embedding.device, torch.int64)
        return (distances[:, 0], indices[:, 0]) if n_neighbors == 1 else (distances, indices)

    def generate_embedding(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the features of all layers at the size of the first one, as anomalib does, and note that size.

        Their dimensions are reduced as soon as it is known how.
        """
        embedding = super().generate_embedding(features)
        self.map_size = (embedding.shape[2], embedding.shape[3])
        return self.reduction.of_maps(embedding)

    def layers_of(self, images: torch.Tensor) -> LayeredPatches:
        """Return the patches of images that were transformed, as the maps of all layers."""
        with torch.no_grad():
            features = self.feature_extractor(images.type(self.memory_bank.dtype))
        maps = [self.feature_pooler(features[layer]) for layer in self.layers]
        self.map_size = (maps[0].shape[2], maps[0].shape[3])
        return layered(maps)

    def find(
        self,
        embedding: torch.Tensor,
        image_size: tuple[int, int],
        nearest: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> Found:
        """Return score and map of one image as `forward` does.

        Parameters
        ----------
        embedding
            Its patches, shape (patches, dimensions).
        image_size
            Height and width of the map in pixels.
        nearest
            Distance and row of the nearest row of each patch, if they are known.
        """
        distances, locations = nearest or self.nearest_neighbors(embedding, 1)
        score = self.compute_anomaly_score(distances[None], locations[None], embedding)
        return score[:, None], self.anomaly_map_generator(distances.reshape(1, 1, *self.map_size), image_size)


class Patchcore(Teachable, AnomalibPatchcore):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Patchcore` with its memory bank and scores, in a fraction of the time and memory.

    Parameters
    ----------
    projection
        Whether the coreset is selected among randomly projected features, as in anomalib; None for where that has fewer
        dimensions than the features. Otherwise the selection goes by the features themselves.
    coreset
        ``"exact"``: among all patches, in memory; ``"composed"``: first within parts of them, see `PatchParts`.
        ``"auto"`` becomes one of both before a run begins; here it is the exact one.
    coreset_size
        Number of selected patches; None for what ``coreset_sampling_ratio`` says.
    neighbors
        How the nearest row of the memory bank is found: ``exact``, ``index`` or ``auto``; see `BankSearch`.
    reduce
        To how many dimensions patches are reduced before the coreset is selected; None for all that there are.
    denoise
        Part of the patches that is left out before the coreset is selected, those that look least like the patches of
        other images at their position, see `quiet_patches`. Thresholds then come from images that are held out.
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
        coreset: str = "auto",
        coreset_size: int | None = None,
        neighbors: str = "exact",
        reduce: int | None = None,
        denoise: float = 0.0,
    ) -> None:
        of_model = backbone, layers, pre_trained, coreset_sampling_ratio, num_neighbors, precision
        handlers = pre_processor, post_processor, evaluator, visualizer
        rebound(super().__init__, PatchcoreModel=PatchcoreModel)(*of_model, *handlers)
        self.projection = projection
        self.composes = coreset == "composed"
        self.coreset_size, self.denoise = coreset_size, denoise
        self._parts: PatchParts | None = None
        self._described: dict[str, Any] = {}
        self.model.reduction, self.model.search = Reduction(reduce), BankSearch(neighbors)

    def share(self, cache: TensorCache | None) -> None:
        """Look coresets and neighbors up in a cache and keep them there; None for images that do not recur."""
        self.model.cache = cache

    def training_step(  # type: ignore[override]  # batches of images alone
        self, batch: ImageBatch, *args: Any, **kwargs: Any
    ) -> Any:
        """Collect the patches of a batch; for a composed coreset, select from them as soon as a part is complete."""
        if not self.composes:
            return super().training_step(batch, *args, **kwargs)
        assert batch.image is not None
        if self._parts is None:
            loader = self.trainer.train_dataloader
            assert loader is not None and isinstance(loader.dataset, Sized)
            images = len(loader.dataset) * tiles_in(self)
            self._parts = PatchParts(images, self._selected, self._projection, self.model.cache, find_executor())
        self._parts.append(self.model.layers_of(batch.image))
        return torch.tensor(0.0, requires_grad=True, device=self.device)

    def fit(self) -> None:
        """Select the coreset of the collected patches and keep it as memory bank."""
        if self._parts is not None:
            self._compose(self._parts)
            return
        whole = concatenate(self.model.embedding_store)
        embeddings = self.model.reduction.fit(whole)
        self.keep([embeddings])
        each, used, kept = math.prod(self.model.map_size), embeddings, None
        if self.denoise:
            kept = quiet_patches(embeddings, each, self.denoise)
            used = embeddings[kept]
        matrix = self._projection(len(used), used.shape[1], used.device)
        features = used.float() if matrix is None else used.float() @ matrix.T
        selected_rows = min(self._selected(len(used)), len(used))  # a size may be more than what is left
        start = int(torch.randint(len(used), (1,)))  # on the processor: a seed selects the same on a GPU
        found = shared_k_center_greedy(features, selected_rows, start, self.model.cache)
        self.model.memory_bank = used[found.order.to(used.device)]
        order = found.order if kept is None else kept.to(found.order.device)[found.order]
        self._image_of_row = order // each
        self._described = {"coreset": "exact", "patches": len(embeddings), "radius": found.radius}
        self._described |= self.model.reduction.measure(whole, order, each)
        self._described |= self.model.search.decide(self.model.memory_bank, embeddings, order, each)

    def _compose(self, parts: PatchParts) -> None:
        """Keep the coreset that was composed as memory bank."""
        composed, self._parts = parts.compose(), None
        self.model.memory_bank = composed.rows
        found = self.model.search.decide(composed.rows, composed.first, composed.order, math.prod(self.model.map_size))
        self._described = composed.describe() | found

    def describe_training(self) -> dict[str, Any]:
        """Return how the coreset was selected, as plain data; ``radius``: no patch is farther from it, as projected."""
        return self._described

    def recall(self, features: Sequence[torch.Tensor], labelled: torch.Tensor) -> None:
        """Keep the patches of the training images, and find again which image each row of the memory bank is of."""
        patches = concatenate(list(features))
        self.keep([patches])
        bank = self.model.memory_bank
        self._image_of_row = nearest_neighbors(bank, patches, 1)[1][:, 0].cpu() // math.prod(self.model.map_size)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the patches of images that were transformed, of shape (images * patches, dimensions)."""
        model = self.model
        features = model.feature_extractor(images.type(model.memory_bank.dtype))
        features = {name: model.feature_pooler(maps) for name, maps in features.items()}
        return model.reshape_embedding(model.generate_embedding(features))

    def take_in(self, features: Sequence[torch.Tensor], fitted: Fitted, weight: int) -> int:
        """Add patches to the memory bank, the farthest first, until none is farther from it than those of training."""
        before = len(self.model.memory_bank)
        self.model.memory_bank = grown(self.model.memory_bank, concatenate(list(features)), fitted.radius or 0.0)
        return len(self.model.memory_bank) - before

    def left_out(
        self, groups: torch.Tensor, others: Sequence[torch.Tensor], of_others: torch.Tensor
    ) -> Iterator[Found]:
        """Return scores and maps as the memory bank gives them without each image's group, see `without_each_group`."""
        model, patches = self.model, math.prod(self.model.map_size)
        if len(groups[self._image_of_row].unique()) < 2:
            raise TooLittleLeftError("all patches of the memory bank are of one group of images")
        (training,), bank = self.kept, model.memory_bank
        further = [patches_of_one for batch in others for patches_of_one in batch.split(patches)]
        found: list[Found | None] = [None] * (len(groups) + len(further))
        model.search.exactly = True  # an index of each memory bank would take longer than it saves
        try:
            for without in without_each_group(training, bank, self._image_of_row, groups):
                model.memory_bank, model.left_out = without.memory_bank, without.unused
                group = groups[without.images[0]]
                for image, *nearest in zip(without.images.tolist(), without.distances, without.locations, strict=True):
                    own = training[image * patches : (image + 1) * patches]
                    found[image] = model.find(own, self.image_size, (nearest[0], nearest[1]))
                for number in (of_others == group).nonzero().flatten().tolist():
                    found[len(groups) + number] = model.find(further[number], self.image_size)
        finally:
            model.memory_bank, model.left_out, model.search.exactly = bank, None, False
        return given_away([each for each in found if each is not None])

    def _selected(self, patches: int) -> int:
        return selected(self.coreset_sampling_ratio, self.coreset_size, patches)

    def _projection(self, count: int, dimensions: int, device: torch.device) -> torch.Tensor | None:
        """Return what projects ``count`` patches to the features by which some are selected; None: the patches."""
        projection = SparseRandomProjection(eps=DISTORTION)
        fewer = projection._johnson_lindenstrauss_min_dim(count, projection.eps) < dimensions
        if not (fewer if self.projection is None else self.projection):
            return None
        # It is fitted to the shape alone, and drawn at random.
        return projection.fit(torch.empty(1, device=device).expand(count, dimensions)).sparse_random_matrix.float()

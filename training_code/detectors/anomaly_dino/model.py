"""AnomalyDINO on shared features of any backbone, its memory bank searched in blocks."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib import PrecisionType
from anomalib.data import InferenceBatch
from anomalib.models import AnomalyDINO as AnomalibAnomalyDINO
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.anomaly_dino.torch_model import AnomalyDINOModel as AnomalibAnomalyDINOModel
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound, remade
from training_code.detectors.patchcore.coreset import shared_k_center_greedy
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.foundation.cache import TensorCache


def _exact_pca(n_components: int, svd_solver: str) -> PCA:
    """Return the decomposition that anomalib asks for, without drawing anything at random."""
    return PCA(n_components, svd_solver="full")


class AnomalyDINOModel(AnomalibAnomalyDINOModel):
    """anomalib's `AnomalyDINOModel` on the maps of a layer, with the nearest patches found in blocks.

    Attributes
    ----------
    cache
        Keeps the coreset, so that configurations share it; None for images that do not recur.
    """

    cache: TensorCache | None = None
    # anomalib's masks come of a decomposition that draws at random: a run would not say twice the same of an image.
    compute_background_masks = staticmethod(remade(AnomalibAnomalyDINOModel.compute_background_masks, PCA=_exact_pca))

    def __init__(
        self,
        num_neighbours: int,
        backbone: str,
        masking: bool,
        coreset_subsampling: bool,
        sampling_ratio: float,
        layers: Sequence[str] | None,
        pre_trained: bool,
    ) -> None:
        nn.Module.__init__(self)  # anomalib's constructor takes the last block of networks of DINO alone
        self.num_neighbours, self.encoder_name, self.masking = num_neighbours, backbone, masking
        self.coreset_subsampling, self.sampling_ratio = coreset_subsampling, sampling_ratio
        layers = layers or [f"blocks.{self._last_block_index(backbone)}"]
        (self.last_layer,) = layers
        self.feature_encoder = feature_extractor(backbone, layers, pre_trained)
        self.patch_size = self._stride()
        self.register_buffer("memory_bank", torch.empty(0))
        self.embedding_store: list[torch.Tensor] = []
        self.anomaly_map_generator = derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d)()

    def fit(self) -> None:
        """Keep the collected patches as memory bank, or those of them that the coreset has."""
        self.memory_bank = torch.vstack(self.embedding_store)
        self.embedding_store.clear()
        if self.coreset_subsampling:
            count = max(1, int(len(self.memory_bank) * self.sampling_ratio))
            start = int(torch.randint(len(self.memory_bank), (1,)))  # on the processor: the same on a GPU
            found = shared_k_center_greedy(self.memory_bank.float(), count, start, self.cache)
            self.memory_bank = self.memory_bank[found.order.to(self.memory_bank.device)]

    def forward(self, input_tensor: torch.Tensor) -> torch.Tensor | InferenceBatch:
        """Collect the patches of training images, or return scores and maps, as anomalib does."""
        images = input_tensor.type(self.memory_bank.dtype)
        height, width = images.shape[-2:]
        rows, columns = height // self.patch_size * self.patch_size, width // self.patch_size * self.patch_size
        top, left = (height - rows) // 2, (width - columns) // 2
        maps = self.feature_encoder(images[:, :, top : top + rows, left : left + columns])[self.last_layer]
        features, grid = maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3])
        masks = self._masks(features, grid) if self.masking else None
        patches = F.normalize(features.flatten(0, 1) if masks is None else features[masks], dim=1)
        if self.training:
            self.embedding_store.append(patches)
            return torch.tensor(0.0, device=images.device, requires_grad=True)
        distances = self.distances(patches)
        if masks is not None:
            distances = torch.zeros_like(masks, dtype=distances.dtype).masked_scatter(masks, distances)
        distances = distances.reshape(-1, grid[0] * grid[1])  # no number of images: in a graph it is open
        anomaly_map = self.anomaly_map_generator(distances.reshape(-1, 1, *grid), (rows, columns))
        border = (left, width - columns - left, top, height - rows - top)
        anomaly_map = F.pad(anomaly_map, border, mode="replicate") if any(border) else anomaly_map
        return InferenceBatch(pred_score=self.mean_top1p(distances), anomaly_map=anomaly_map)

    def distances(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the mean cosine distance to the nearest rows of the memory bank, shape (n,); both have length 1."""
        count = min(self.num_neighbours, len(self.memory_bank))
        return nearest_neighbors(patches, self.memory_bank, count)[0].square().mean(1) / 2

    def _masks(self, features: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Return which patches show the object, bool of shape (images, patches)."""
        found = self.compute_background_masks(features.detach().float().cpu().numpy(), grid)
        return torch.from_numpy(found).to(features.device)

    def _stride(self) -> int:
        """Return how many pixels of an image a patch has along a side."""
        reductions = getattr(self.feature_encoder, "reductions", None)  # of a transformer anomalib's has none
        return int(reductions[0] if reductions else self.feature_encoder.patch_size)


class AnomalyDINO(AnomalibAnomalyDINO):
    """anomalib's `AnomalyDINO` with the same scores, on any backbone, which downloads nothing.

    Damm, Laszkiewicz, Lederer, Fischer, "AnomalyDINO: Boosting Patch-based Few-shot Anomaly Detection with DINOv2",
    WACV 2025.

    Parameters
    ----------
    backbone
        anomalib's ``encoder_name``: the paper takes DINOv2, and any other network of the registry is valid too.
    coreset_subsampling
        Whether a coreset of the patches is kept. It is selected among the patches themselves, without anomalib's
        random projection.
    layers
        One layer; by default the last block.
    pre_trained
        Whether the backbone has trained weights.
    others
        As in anomalib.
    """

    model: AnomalyDINOModel

    def __init__(
        self,
        num_neighbours: int = 1,
        backbone: str = "vit_small_patch14_dinov2",
        masking: bool = False,
        coreset_subsampling: bool = False,
        sampling_ratio: float = 0.1,
        precision: str | PrecisionType = PrecisionType.FLOAT32,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: nn.Module | bool = True,
        visualizer: Visualizer | bool = True,
        layers: list[str] | None = None,
        pre_trained: bool = True,
    ) -> None:
        def model(num_neighbours: int, encoder_name: str, *arguments: Any, **options: Any) -> AnomalyDINOModel:
            return AnomalyDINOModel(
                num_neighbours, encoder_name, *arguments, layers=layers, pre_trained=pre_trained, **options
            )

        rebound(super().__init__, AnomalyDINOModel=model)(
            num_neighbours,
            backbone,
            masking,
            coreset_subsampling,
            sampling_ratio,
            precision,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )

    def share(self, cache: TensorCache | None) -> None:
        """Look coresets up in a cache and keep them there; None for images that do not recur."""
        self.model.cache = cache


def _untrained(backbone: str, layers: list[str], pre_trained: bool, **options: Any) -> TimmFeatureExtractor:
    return TimmFeatureExtractor(backbone, layers, pre_trained=False, **options)


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainAnomalyDINO = derived(
    AnomalibAnomalyDINO, AnomalyDINOModel=derived(AnomalibAnomalyDINOModel, TimmFeatureExtractor=_untrained)
)

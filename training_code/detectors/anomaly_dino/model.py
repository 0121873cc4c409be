"""AnomalyDINO on shared features of any backbone, its memory bank searched in blocks."""

import math
from collections.abc import Iterator, Sequence
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
from training_code.detectors.leaving_out import Found, LeavesOut, TooLittleLeftError
from training_code.detectors.patchcore.coreset import shared_k_center_greedy
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError


def _exact_pca(n_components: int, svd_solver: str) -> PCA:
    """Return the decomposition that anomalib asks for, without drawing anything at random."""
    return PCA(n_components, svd_solver="full")


class AnomalyDINOModel(AnomalibAnomalyDINOModel):
    """anomalib's `AnomalyDINOModel` on the maps of a layer, with the nearest patches found in blocks.

    Attributes
    ----------
    cache
        Keeps the coreset, so that configurations share it; None for images that do not recur.
    map_size
        How many patches the images that were seen last have in height and width.
    """

    cache: TensorCache | None = None
    map_size: tuple[int, int] = (0, 0)
    # anomalib's masks come of a decomposition that draws at random: a run would not say twice the same of an image.
    compute_background_masks = staticmethod(remade(AnomalibAnomalyDINOModel.compute_background_masks, PCA=_exact_pca))

    def __init__(
        self,
        num_neighbours: int,
        masking: bool,
        coreset_subsampling: bool,
        sampling_ratio: float,
        feature_encoder: TimmFeatureExtractor,
    ) -> None:
        nn.Module.__init__(self)  # anomalib's constructor takes the last block of networks of DINO alone
        self.num_neighbours, self.masking = num_neighbours, masking
        self.coreset_subsampling, self.sampling_ratio = coreset_subsampling, sampling_ratio
        self.feature_encoder = feature_encoder
        (self.last_layer,) = map(str, feature_encoder.layers)
        self.patch_size = self._stride()
        self.register_buffer("memory_bank", torch.empty(0))
        self.embedding_store: list[torch.Tensor] = []
        self.anomaly_map_generator = derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d)()

    def fit(self) -> None:
        """Keep the collected patches as memory bank, or those of them that the coreset has.

        Raises
        ------
        InputError
            If all of them were masked.
        """
        self.memory_bank = torch.vstack(self.embedding_store)
        self.embedding_store.clear()
        if not len(self.memory_bank):
            raise InputError(
                "masking=True takes all patches of the training images for background; valid: masking=False, or a "
                "backbone of DINOv2, for whose features it was made"
            )
        if self.coreset_subsampling:
            count = max(1, int(len(self.memory_bank) * self.sampling_ratio))
            start = int(torch.randint(len(self.memory_bank), (1,)))  # on the processor: the same on a GPU
            found = shared_k_center_greedy(self.memory_bank.float(), count, start, self.cache)
            self.memory_bank = self.memory_bank[found.order.to(self.memory_bank.device)]

    def forward(self, input_tensor: torch.Tensor) -> torch.Tensor | InferenceBatch:
        """Collect the patches of training images, or return scores and maps, as anomalib does."""
        features = self.features(input_tensor)
        masks = self._masks(features) if self.masking else None
        patches = F.normalize(features.flatten(0, 1) if masks is None else features[masks], dim=1)
        if self.training:
            self.embedding_store.append(patches)
            return torch.tensor(0.0, device=features.device, requires_grad=True)
        distances = self.distances(patches)
        if masks is not None:
            distances = torch.zeros_like(masks, dtype=distances.dtype).masked_scatter(masks, distances)
        score, anomaly_map = self.find(distances, input_tensor.shape[-2:])
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of all patches, of shape (images, patches, dimensions), and note how they lie."""
        top, left, rows, columns = self.inside(images.shape[-2:])
        inside = images[:, :, top : top + rows, left : left + columns].type(self.memory_bank.dtype)
        maps = self.feature_encoder(inside)[self.last_layer]
        self.map_size = (maps.shape[2], maps.shape[3])
        return maps.flatten(2).transpose(1, 2)

    def find(self, distances: torch.Tensor, image_size: Sequence[int]) -> Found:
        """Return scores and maps of images of ``image_size``, given the distances of all their patches."""
        rows, columns = self.map_size
        distances = distances.reshape(-1, rows * columns)  # no number of images: in a graph it is open
        top, left, height, width = self.inside(image_size)
        maps = self.anomaly_map_generator(distances.reshape(-1, 1, rows, columns), (height, width))
        border = (left, int(image_size[1]) - width - left, top, int(image_size[0]) - height - top)
        return self.mean_top1p(distances), F.pad(maps, border, mode="replicate") if any(border) else maps

    def distances(self, patches: torch.Tensor, left_out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean cosine distance to the nearest rows of the memory bank, shape (n,); all have length 1.

        ``left_out`` says which rows are no neighbors, bool; None for none.
        """
        count = min(self.num_neighbours, len(self.memory_bank))
        return nearest_neighbors(patches, self.memory_bank, count, left_out)[0].square().mean(1) / 2

    def inside(self, image_size: Sequence[int]) -> tuple[int, int, int, int]:
        """Return where the patches begin, top and left, and how many pixels they cover, height and width."""
        # As whole numbers, of which a graph makes constants: sides of images are known there.
        sides = [int(side) for side in image_size]
        height, width = (side // self.patch_size * self.patch_size for side in sides)
        return (sides[0] - height) // 2, (sides[1] - width) // 2, height, width

    def _masks(self, features: torch.Tensor) -> torch.Tensor:
        """Return which patches show the object, bool of shape (images, patches)."""
        found = self.compute_background_masks(features.detach().float().cpu().numpy(), self.map_size)
        return torch.from_numpy(found).to(features.device)

    def _stride(self) -> int:
        """Return how many pixels of an image a patch has along a side."""
        reductions = getattr(self.feature_encoder, "reductions", None)  # of a transformer anomalib's has none
        return int(reductions[0] if reductions else self.feature_encoder.patch_size)


class AnomalyDINO(LeavesOut, AnomalibAnomalyDINO):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
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
        def model(num_neighbours: int, encoder_name: str, **options: Any) -> AnomalyDINOModel:
            taken = layers or [f"blocks.{AnomalibAnomalyDINOModel._last_block_index(encoder_name)}"]
            encoder = feature_extractor(encoder_name, taken, pre_trained)
            return AnomalyDINOModel(num_neighbours, feature_encoder=encoder, **options)

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

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the patches of images that were transformed, of shape (images * patches, dimensions)."""
        return F.normalize(self.model.features(images).flatten(0, 1), dim=1)

    def left_out(
        self, groups: torch.Tensor, others: Sequence[torch.Tensor], of_others: torch.Tensor
    ) -> Iterator[Found]:
        """Return scores and maps as the memory bank gives them without the patches of each image's group."""
        if len(groups.unique()) < 2:
            raise TooLittleLeftError("all patches of the memory bank are of one group of images")
        model = self.model
        each = math.prod(model.map_size)
        of_row = groups.to(model.memory_bank.device).repeat_interleave(each)
        further = [patches for batch in others for patches in batch.split(each)]
        images = zip([*model.memory_bank.split(each), *further], [*groups, *of_others], strict=True)
        for patches, group in images:
            yield model.find(model.distances(patches, of_row == group.to(of_row.device)), self.image_size)

    def share(self, cache: TensorCache | None) -> None:
        """Look coresets up in a cache and keep them there; None for images that do not recur."""
        self.model.cache = cache


def _untrained(backbone: str, layers: list[str], pre_trained: bool, **options: Any) -> TimmFeatureExtractor:
    return TimmFeatureExtractor(backbone, layers, pre_trained=False, **options)


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainAnomalyDINO = derived(
    AnomalibAnomalyDINO, AnomalyDINOModel=derived(AnomalibAnomalyDINOModel, TimmFeatureExtractor=_untrained)
)

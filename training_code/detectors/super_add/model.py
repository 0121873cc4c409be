"""SuperADD on tokens of the store, thinned out and searched in blocks."""

from collections import defaultdict
from functools import partial
from typing import Any

import torch
from anomalib import PrecisionType
from anomalib.metrics import Evaluator
from anomalib.models import SuperADD as AnomalibSuperADD
from anomalib.models.image.super_add.torch_model import DinoV3Backbone as AnomalibDinoV3Backbone
from anomalib.models.image.super_add.torch_model import SuperADDModel as AnomalibSuperADDModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from timm import create_model
from torch import nn

from training_code.detectors.anomalib_seams import derived, rebound, remade, token_extractor
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.detectors.smoothing import BandedGaussianBlur2d

# By how much the distance within which patches count as alike grows while there are too many.
_GROWTH = 1.1


class DinoV3Backbone(AnomalibDinoV3Backbone):
    """anomalib's `DinoV3Backbone` over the source of features, in whose store the tokens of each crop are."""

    def __init__(self, backbone: str, layers: list[int], pre_trained: bool) -> None:
        nn.Module.__init__(self)  # anomalib's constructor downloads weights
        names = [f"blocks.{layer}" for layer in layers]
        self.dino = token_extractor(backbone, names, pre_trained, norm=False)
        self.layers, self.model_patch_size = layers, self.dino.patch_size

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the tokens of each layer, of shape (images, positions, channels)."""
        return list(self.dino(x).values())


class SuperADDModel(AnomalibSuperADDModel):
    """anomalib's `SuperADDModel`, whose thinning always ends, and which never holds all distances of a layer at once.

    Parameters
    ----------
    pre_trained
        As in `SuperADD`.
    others
        As in anomalib.
    """

    def __init__(self, *arguments: Any, pre_trained: bool, **options: Any) -> None:
        parts = {
            "DinoV3Backbone": partial(DinoV3Backbone, pre_trained=pre_trained),
            "GaussianBlur2d": BandedGaussianBlur2d,
        }
        rebound(super().__init__, **parts)(*arguments, **options)

    # Without a bar of progress.
    subsampling_distance_based_fast = remade(
        AnomalibSuperADDModel.subsampling_distance_based_fast, tqdm=lambda iterations, **_: iterations
    )

    def subsample_embedding(self) -> None:
        """Keep the collected patches, thinned out, as memory bank; the model can be fitted again afterwards."""
        super().subsample_embedding()
        self.embedding_store = defaultdict(list)

    def subsample_features(
        self, x: torch.Tensor, target_number_of_samples: int, knn_neighbors: int, normalize: bool
    ) -> torch.Tensor:
        """Return which features are kept, bool of shape (n,), fewer where they are dense, as anomalib does.

        anomalib's loop has no end where features coincide, or are more than a hundred times as many as wanted: each is
        kept with a chance of one to its neighbors at least, of which it counts a hundred. Then chance decides among
        those with the best ones.

        Parameters
        ----------
        x
            Shape (n, dimensions).
        target_number_of_samples
            How many are kept at most.
        knn_neighbors
            How many neighbors are looked at.
        normalize
            False: features as they are.
        """
        assert not normalize
        features = x.to(self._compute_device())
        distances = nearest_neighbors(features, features, min(knn_neighbors, len(features)))[0].float().cpu()
        drawn, within = torch.rand(len(features)), distances.mean() / 10
        while True:
            chances = 1 / ((distances < within).sum(1) + 1)
            kept = drawn < chances
            if int(kept.sum()) <= target_number_of_samples:
                return kept
            if within > distances.max() or not within > 0:
                best = (drawn / chances).topk(target_number_of_samples, largest=False).indices
                return torch.zeros_like(kept).index_fill(0, best, True)
            within = within * _GROWTH

    def nearest_neighbors_chunked(
        self, features_query: torch.Tensor, features_key: torch.Tensor, knn_neighbors: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and rows of the nearest keys, shape (images, queries, knn_neighbors), in float32.

        In the float16 of the features anomalib's squares overflow.
        """
        found = nearest_neighbors(features_query.flatten(0, 1).float(), features_key, knn_neighbors)
        distances, rows = (each.unflatten(0, features_query.shape[:2]) for each in found)
        return distances, rows


class SuperADD(AnomalibSuperADD):
    """anomalib's `SuperADD` with the same scores, on tokens of the store, which downloads nothing.

    Parameters
    ----------
    layers
        Names of blocks, such as ``blocks.7``; by default those at a quarter, a half, three quarters and the end.
        anomalib has others for networks of twelve blocks: 3, 5, 8 and 10.
    pre_trained
        Whether the backbone has trained weights.
    max_database_size
        How many patches of each layer are kept at most; anomalib's model has 100,000.
    subsampling_iterations
        In how many parts they are thinned out; anomalib's model has 100.
    others
        As in anomalib.
    """

    model: SuperADDModel

    def __init__(
        self,
        backbone: str = "vit_huge_plus_patch16_dinov3",
        patch_size: int = 448,
        patch_overlap: int = 16,
        layers: list[str] | None = None,
        gaussian_blur_sigma: float = 4.0,
        score_quantile: float = 1e-3,
        precision: str | PrecisionType = PrecisionType.FLOAT32,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        pre_trained: bool = True,
        max_database_size: int = 100_000,
        subsampling_iterations: int = 100,
    ) -> None:
        model = partial(
            SuperADDModel,
            pre_trained=pre_trained,
            max_database_size=max_database_size,
            subsampling_iterations=subsampling_iterations,
        )
        rebound(super().__init__, SuperADDModel=model)(
            backbone,
            patch_size,
            patch_overlap,
            None if layers is None else [int(name.rpartition(".")[2]) for name in layers],
            gaussian_blur_sigma,
            score_quantile,
            precision,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )


class _Untrained:
    """timm, as anomalib's constructor looks it up, giving networks without weights."""

    @staticmethod
    def create_model(backbone: str, **options: Any) -> nn.Module:
        """Return a network with random weights, for images of any size."""
        return create_model(backbone, **options | {"pretrained": False, "dynamic_img_size": True})


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainSuperADD = derived(
    AnomalibSuperADD,
    SuperADDModel=derived(AnomalibSuperADDModel, DinoV3Backbone=derived(AnomalibDinoV3Backbone, timm=_Untrained)),
)

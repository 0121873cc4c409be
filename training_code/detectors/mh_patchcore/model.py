"""MHPatchcore on shared features, with a memory that does not depend on the batches of training."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import MHPatchcore as AnomalibMHPatchcore
from anomalib.models.image.mh_patchcore.components import CovarianceWhitening, StreamingPCA
from anomalib.models.image.mh_patchcore.components import MergeReduceMemoryBank as AnomalibMergeReduceMemoryBank
from anomalib.models.image.mh_patchcore.torch_model import MHPatchcoreModel as AnomalibMHPatchcoreModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.patchcore.coreset import k_center_greedy


def farthest_first(embeddings: torch.Tensor, target_size: int) -> torch.Tensor:
    """Return the coreset that anomalib's ``_farthest_first_coreset`` selects, in its order, selected in blocks.

    Parameters
    ----------
    embeddings
        Shape (points, dimensions), float64.
    target_size
        How many points to select; all of them where there are no more.
    """
    if target_size >= len(embeddings):
        return embeddings.clone()
    start = int((embeddings - embeddings.mean(dim=0)).norm(dim=1).argmax())
    return embeddings[k_center_greedy(embeddings, target_size, start).order]


class PrincipalComponents(StreamingPCA):
    """anomalib's `StreamingPCA` by the covariance of all patches, in place of a decomposition for each batch.

    Both are exact: the directions are the same, but for their signs, and so are distances along them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # In a tuple, so that it does not become a part of this module as well.
        self._moments = (CovarianceWhitening(),)

    def update(self, embeddings: torch.Tensor) -> None:
        """Take the patches of a batch, shape (patches, dimensions)."""
        self._moments[0].update(self._prepare_batch(embeddings))

    def finalize(self) -> None:
        """Keep the directions that hold the given part of the variance."""
        (moments,) = self._moments
        values, vectors = torch.linalg.eigh(moments.covariance())
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        reached = (values.cumsum(0) / values.sum() >= self.variance_ratio).nonzero().flatten()
        kept = int(reached[0]) + 1 if len(reached) else len(values)
        assert moments._running_mean is not None  # there is a covariance
        device, components, mean = self.components.device, vectors[:, :kept].T, moments._running_mean
        self.components = components.float().contiguous().to(device)
        self.mean = mean.to(device)
        self.projected_mean = (components @ mean).float().to(device)
        self.num_components = torch.tensor(kept, device=device)
        self._moments = (CovarianceWhitening(),)


class MergeReduceMemoryBank(AnomalibMergeReduceMemoryBank):
    """anomalib's `MergeReduceMemoryBank`, which takes blocks of so many images, whatever batches they come in.

    Attributes
    ----------
    block_images
        How many images are reduced together: what anomalib's batches are.
    patches
        Of each image.
    """

    block_images = 32
    patches = 1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: list[torch.Tensor] = []

    def update(self, embeddings: torch.Tensor) -> None:
        """Take patches of further images, shape (patches, dimensions)."""
        waiting = torch.cat([*self._waiting, embeddings])
        *complete, rest = waiting.split(self.block_images * self.patches)
        if len(rest) == self.block_images * self.patches:
            complete, rest = [*complete, rest], rest[:0]
        for block in complete:
            self._take(block)
        self._waiting = [rest] if len(rest) else []

    def finalize(self) -> None:
        """Put the memory together."""
        for block in self._waiting:
            self._take(block)
        self._waiting = []
        rebound(super().finalize, _farthest_first_coreset=farthest_first)()

    def _take(self, block: torch.Tensor) -> None:
        rebound(super().update, _farthest_first_coreset=farthest_first)(block)

    def _push_block(self, block: torch.Tensor) -> None:
        rebound(super()._push_block, _farthest_first_coreset=farthest_first)(block)


class MHPatchcoreModel(AnomalibMHPatchcoreModel):
    """anomalib's `MHPatchcoreModel` on shared features."""

    pca: PrincipalComponents
    memory_bank: MergeReduceMemoryBank

    def __init__(self, **options: Any) -> None:
        parts = {
            "TimmFeatureExtractor": feature_extractor,
            "StreamingPCA": PrincipalComponents,
            "MergeReduceMemoryBank": MergeReduceMemoryBank,
        }
        rebound(super().__init__, **parts)(**options)

    def forward(self, input_tensor: torch.Tensor) -> torch.Tensor | InferenceBatch:
        """Return patches while training, else scores and maps."""
        found = super().forward(input_tensor)
        if isinstance(found, torch.Tensor):
            self.memory_bank.patches = len(found) // len(input_tensor)
        return found


class MHPatchcore(AnomalibMHPatchcore):
    """anomalib's `MHPatchcore`: three passes over the images give principal components, whitening and memory.

    Parameters
    ----------
    block_images
        How many images a part of the memory is first selected from: anomalib's size of a batch.
    others
        As in anomalib.
    """

    model: MHPatchcoreModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2.tv2_in1k",
        layers: Sequence[str] = ("layer2", "layer3"),
        pre_trained: bool = True,
        pca_variance_ratio: float = 0.99,
        covariance_shrinkage: float = 0.07,
        memory_bank_size: int = 1000,
        local_coreset_size: int = 256,
        num_neighbors: int = 9,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        block_images: int = 32,
    ) -> None:
        rebound(super().__init__, MHPatchcoreModel=MHPatchcoreModel)(
            backbone,
            layers,
            pre_trained,
            pca_variance_ratio,
            covariance_shrinkage,
            memory_bank_size,
            local_coreset_size,
            num_neighbors,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.model.memory_bank.block_images = block_images

    @property
    def trainer_arguments(self) -> dict[str, int]:
        """Return anomalib's arguments of the trainer, but for the validation that a checkpoint would wait for."""
        return {name: value for name, value in super().trainer_arguments.items() if name != "check_val_every_n_epoch"}

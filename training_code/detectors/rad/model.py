"""RAD on tokens of the store."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Rad as AnomalibRad
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.rad.torch_model import RadModel as AnomalibRadModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from training_code.detectors.anomalib_seams import rebound, token_extractor
from training_code.detectors.leaving_out import Found, LeavesOut, TooLittleLeftError
from training_code.detectors.smoothing import BandedGaussianBlur2d


def _tokens(backbone: str, pre_trained: bool, layers: list[str], **_: Any) -> TimmFeatureExtractor:
    return token_extractor(backbone, layers, pre_trained, return_class_token=True)


class RadModel(AnomalibRadModel):
    """anomalib's `RadModel` on tokens of the source of features.

    Attributes
    ----------
    num_prefix_tokens
        How many tokens stand before those of the positions.
    left_out
        Which training images no image is compared with at present, bool; None for none.
    """

    left_out: torch.Tensor | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        make = rebound(super().__init__, TimmFeatureExtractor=_tokens, GaussianBlur2d=BandedGaussianBlur2d)
        make(*arguments, **options)
        self.num_prefix_tokens: int = self.feature_extractor.num_prefix_tokens

    def find(self, tokens: torch.Tensor, left_out: torch.Tensor, image_size: tuple[int, int]) -> Found:
        """Return score and map of one image as they are without some training images.

        Parameters
        ----------
        tokens
            Those of the class and then those of the positions, in each layer, shape (layers, 1 + positions, channels).
        left_out
            Which training images are left out, shape (N,), bool.
        image_size
            Height and width of the image.
        """
        asked, self.left_out = self.k_image, left_out
        self.k_image += int(left_out.sum())
        try:
            features = [(layer[None, 1:], layer[None, 0]) for layer in tokens]
            found = self._score(features, self._patch_grid(*image_size), image_size)
        finally:
            self.k_image, self.left_out = asked, None
        assert found.pred_score is not None and found.anomaly_map is not None
        return found.pred_score[:, None], found.anomaly_map

    def _extract_features(self, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        found = self.feature_extractor(x).values()
        return [(tokens[:, self.num_prefix_tokens :], tokens[:, 0]) for tokens in found]

    def _compute_patch_scores(
        self, patch_list: list[torch.Tensor], topk_idx: torch.Tensor, grid: tuple[int, int]
    ) -> torch.Tensor:
        """Return the scores of patches given the training images that are most alike, the most alike first."""
        if self.left_out is not None:  # of one image: as many are found in addition as are left out
            kept = topk_idx[:, ~self.left_out[topk_idx[0]]]
            topk_idx = kept[:, : self.k_image - int(self.left_out.sum())]
        return super()._compute_patch_scores(patch_list, topk_idx, grid)


class Rad(LeavesOut, AnomalibRad):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Rad` with the same scores, whose network comes from ``weights/`` and whose tokens from the store.

    "Is Training Necessary for Anomaly Detection?", 2026, https://arxiv.org/abs/2601.22763.

    Parameters
    ----------
    layers
        Names of blocks, such as ``blocks.3``; by default the paper's, at the same depths in networks of any depth.
    others
        As in anomalib.
    """

    model: RadModel

    def __init__(
        self,
        backbone: str = "vit_base_patch16_dinov3",
        layers: list[str] | None = None,
        pre_trained: bool = True,
        k_image: int = 150,
        use_positional_bank: bool = True,
        pos_radius: int = 1,
        max_ratio: float = 0.01,
        layer_weights: list[float] | None = None,
        bank_dtype: str | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        blocks = None if layers is None else [int(name.rpartition(".")[2]) for name in layers]
        rebound(super().__init__, RadModel=RadModel)(
            backbone,
            blocks,
            pre_trained,
            k_image,
            use_positional_bank,
            pos_radius,
            max_ratio,
            layer_weights,
            bank_dtype,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the tokens of images that were transformed, shape (images, layers, 1 + positions, channels)."""
        found = self.model._extract_features(images)
        return torch.stack([torch.cat([of_class[:, None], places], 1) for places, of_class in found], 1)

    def left_out(
        self, groups: torch.Tensor, others: Sequence[torch.Tensor], of_others: torch.Tensor
    ) -> Iterator[Found]:
        """Return scores and maps as the memory bank gives them without the images of each image's group."""
        if len(groups.unique()) < 2:
            raise TooLittleLeftError("all patches of the memory bank are of one group of images")
        model = self.model
        groups, of_others = groups.to(model.cls_banks.device), of_others.to(model.cls_banks.device)
        for image, group in enumerate(groups):
            places = model.patch_banks[:, :, image].to(model.cls_banks.dtype)
            tokens = torch.cat([model.cls_banks[:, image, None], places], 1)
            yield model.find(tokens, groups == group, self.image_size)
        further = (tokens for batch in others for tokens in batch)
        for tokens, group in zip(further, of_others, strict=True):
            yield model.find(tokens, groups == group, self.image_size)

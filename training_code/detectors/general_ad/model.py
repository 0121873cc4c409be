"""GeneralAD over any vision transformer, on shared tokens, for images of any shape and trainings of any length."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import GeneralAD as AnomalibGeneralAD
from anomalib.models.image.general_ad.torch_model import FakeFeatureType
from anomalib.models.image.general_ad.torch_model import GeneralADModel as AnomalibGeneralADModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import rebound, token_extractor
from training_code.detectors.general_ad.spec import WITHOUT_ATTENTION
from training_code.detectors.reconstruction import good_images
from training_code.foundation.errors import InputError, choices


class GeneralADModel(AnomalibGeneralADModel):
    """anomalib's `GeneralADModel` on tokens of any transformer, for images of any shape.

    anomalib has images squared and networks called vit or eva, computes the attention of each image whether it is of
    use or not, and leaves out the normalization of queries and keys where a network has one.

    Parameters
    ----------
    layers
        Names of blocks.
    image_size
        Height and width in pixels.
    pre_trained
        Whether the transformer has trained weights.
    others
        As in anomalib.
    """

    def __init__(
        self, backbone: str, layers: Sequence[str], image_size: tuple[int, int], pre_trained: bool, **options: Any
    ) -> None:
        tokens: Any = token_extractor(backbone, layers, pre_trained)
        patch = tokens.patch_size
        self.grid = image_size[0] // patch, image_size[1] // patch
        self.names = list(layers)
        tokens.num_patches = self.grid[0] * self.grid[1]
        tokens.embed_dim = sum(tokens.out_dims)
        numbers = range(1, 1 + len(self.names))  # read by the part alone that is exchanged
        rebound(super().__init__, ViTFeatureExtractor=lambda *_, **__: tokens)(
            "vit", numbers, image_size=image_size, **options
        )
        self.backbone = backbone
        self.needs_attention = self.fake_feature_type not in WITHOUT_ATTENTION
        network: Any = tokens.feature_extractor
        plain = hasattr(network.blocks[0].attn, "qkv") and getattr(network, "rope", None) is None
        if self.needs_attention and not (plain and network.num_prefix_tokens):
            raise InputError(
                f"fake_feature_type={self.fake_feature_type!r} goes by the attention of a class token as networks of "
                f"DINO and DINOv2 have it, and {backbone} has another one or none; valid: {choices(WITHOUT_ATTENTION)}"
            )

    def tokens(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of all patches, of shape (images, patches, features)."""
        found = self.feature_extractor(images)
        return torch.cat([found[name] for name in self.names], dim=-1)

    def extract_features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the features of all patches, and how the class attends to them where training goes by that."""
        return self.tokens(images), self.attention(images) if self.needs_attention else None

    @torch.no_grad()
    def attention(self, images: torch.Tensor) -> torch.Tensor:
        """Return how the class token attends to each patch in the last of the blocks, (images, heads, patches)."""
        network: Any = self.feature_extractor.feature_extractor
        last = int(self.names[-1].rpartition(".")[2])
        block = network.blocks[last].attn
        given: list[torch.Tensor] = []
        hook = block.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
        try:
            network.forward_intermediates(images, indices=[last], stop_early=True, intermediates_only=True)
        finally:
            hook.remove()
        shape = (*given[0].shape[:2], 3, block.num_heads, -1)
        queries, keys, _ = block.qkv(given[0]).reshape(shape).permute(2, 0, 3, 1, 4)
        queries, keys = block.q_norm(queries[:, :, :1]), block.k_norm(keys)
        attention = (queries * block.scale @ keys.transpose(-2, -1)).softmax(-1)
        return attention[:, :, 0, network.num_prefix_tokens :]

    def score_features(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and maps as anomalib does."""
        patches = self.discriminator(features)
        maps = patches.unflatten(1, (1, *self.grid))
        score = patches.topk(self.top_k, dim=1).values.mean(dim=1)
        return score, F.interpolate(maps, size=self.image_size, mode="bilinear", align_corners=False)

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return scores and maps of images."""
        score, anomaly_map = self.score_features(self.tokens(images))
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


class GeneralAD(AnomalibGeneralAD):
    """anomalib's `GeneralAD`, over any vision transformer, in trainings of any length.

    Sträter, Salehi, Gavves, Snoek, Asano, "GeneralAD: Anomaly Detection Across Domains by Attending to Distorted
    Features", ECCV 2024.

    Parameters
    ----------
    layers
        Blocks whose tokens are taken, by their names: ``["blocks.23"]`` is anomalib's ``(24,)``.
    lr
        Learning rate, which falls to ``lr_decay_factor`` of it along a cosine over the epochs that are trained:
        ``max_epochs``, where anomalib has ``epochs`` beside them.
    others
        As in anomalib.
    """

    model: GeneralADModel

    def __init__(
        self,
        backbone: str = "vit_large_patch14_dinov2.lvd142m",
        layers: Sequence[str] = ["blocks.23"],  # noqa: B006  plain data, as records hold it
        hidden_dim: int = 2048,
        lr: float = 5e-4,
        lr_decay_factor: float = 0.2,
        weight_decay: float = 1e-5,
        noise_std: float = 0.25,
        dsc_layers: int = 1,
        dsc_heads: int = 4,
        dsc_dropout: float = 0.1,
        num_fake_patches: int = -1,
        fake_feature_type: str = "random",
        top_k: int = 10,
        pre_trained: bool = True,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        kind: FakeFeatureType = fake_feature_type  # type: ignore[assignment]  # checked by its specification
        rebound(super().__init__, GeneralADModel=GeneralADModel)(
            backbone=backbone,
            layers=layers,
            hidden_dim=hidden_dim,
            lr=lr,
            lr_decay_factor=lr_decay_factor,
            weight_decay=weight_decay,
            noise_std=noise_std,
            dsc_layers=dsc_layers,
            dsc_heads=dsc_heads,
            dsc_dropout=dsc_dropout,
            num_fake_patches=num_fake_patches,
            fake_feature_type=kind,
            top_k=top_k,
            pre_trained=pre_trained,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:  # type: ignore[override]  # what Lightning declares
        """Return anomalib's optimizer and schedule over the epochs that are trained."""
        epochs = self.trainer.max_epochs
        assert epochs is not None
        self.epochs = epochs
        made: Any = super().configure_optimizers()
        return made

    def validation_step(self, batch: Batch, batch_idx: int, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch, with the same noise each time, as ``val_loss``."""
        normal = good_images(batch)
        if not len(normal):
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(batch_idx)
            loss = self.model.compute_loss(normal)
        self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

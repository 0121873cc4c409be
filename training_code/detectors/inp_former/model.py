"""INP-Former over any vision transformer, on shared tokens, with a schedule that follows the steps of the run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from anomalib import PrecisionType
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import InpFormer as AnomalibInpFormer
from anomalib.models.image.inp_former.lightning_model import TRAINING_CONFIG
from anomalib.models.image.inp_former.torch_model import InpFormerModel as AnomalibInpFormerModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import derived, rebound, token_extractor
from training_code.detectors.reconstruction import (
    configure_optimizer,
    cosine_distance,
    good_images,
    transformer_sizes,
    untrained_tokens,
)
from training_code.detectors.transformers import block_numbers, halves

# The rate of learning rises in one of so many steps: in 100 of the 3,000 that 200 epochs of a product of MVTec AD have.
_WARMUP = 30


class InpFormerModel(AnomalibInpFormerModel):
    """anomalib's `InpFormerModel` over any transformer, for images of any shape.

    anomalib takes the size of the network from its name, reads the maps as squares, and keeps the distances of the last
    batch, with what led to them, on the model.

    Parameters
    ----------
    pre_trained
        Whether the transformer has trained weights.
    others
        As in anomalib.
    """

    def __init__(
        self,
        encoder_name: str,
        target_layers: list[int],
        fuse_layer_encoder: list[list[int]] | None,
        fuse_layer_decoder: list[list[int]] | None,
        pre_trained: bool,
        **options: Any,
    ) -> None:
        names = [f"blocks.{number}" for number in target_layers]
        encoder = token_extractor(encoder_name, names, pre_trained, norm=False, return_class_token=True)
        self._sizes = transformer_sizes(encoder)
        rebound(super().__init__, TimmFeatureExtractor=lambda **_: encoder)(
            encoder_name=encoder_name, target_layers=target_layers, **options
        )
        self.fuse_layer_encoder = fuse_layer_encoder or halves(len(target_layers))
        self.fuse_layer_decoder = fuse_layer_decoder or halves(len(self.decoder))

    def _get_architecture_config(  # type: ignore[override]  # anomalib's has no state, and goes by names
        self, encoder_name: str, target_layers: list[int] | None
    ) -> dict[str, Any]:
        """Return channels and heads of the transformer."""
        return self._sizes | {"target_layers": target_layers}

    def get_inp_loss(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Return the mean cosine distance of the tokens to the nearest prototype."""
        distances = 1.0 - F.cosine_similarity(query.unsqueeze(2), keys.unsqueeze(1), dim=-1)
        return distances.amin(dim=2).mean()

    def get_encoder_decoder_inploss(
        self, x: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """Return the maps of the groups of layers, their reconstructions, and the coherence loss, as anomalib does."""
        height, width = x.shape[-2] // self.encoder.patch_size, x.shape[-1] // self.encoder.patch_size
        prefix = 1 + self.encoder.num_register_tokens
        features = self.encoder(x)
        encoded = [features[f"blocks.{number}"] for number in self.target_layers]
        if self.remove_class_token:
            encoded = [tokens[:, prefix:] for tokens in encoded]
        fused = self._fuse_feature(encoded)
        prototypes = self.prototype_token[0].expand(x.shape[0], -1, -1)
        for block in self.aggregation:
            prototypes = block(prototypes, fused)
        loss = self.get_inp_loss(fused, prototypes)
        for block in self.bottleneck:
            fused = block(fused)
        decoded: list[torch.Tensor] = []
        for block in self.decoder:
            fused = block(fused, prototypes)
            decoded.insert(0, fused)

        def maps(tokens: list[torch.Tensor], groups: list[list[int]]) -> list[torch.Tensor]:
            found = [self._fuse_feature([tokens[number] for number in group]) for group in groups]
            found = found if self.remove_class_token else [each[:, prefix:] for each in found]
            return [each.transpose(1, 2).unflatten(2, (height, width)).contiguous() for each in found]

        return maps(encoded, self.fuse_layer_encoder), maps(decoded, self.fuse_layer_decoder), loss


class InpFormer(AnomalibInpFormer):
    """anomalib's `InpFormer`, which downloads nothing, over any vision transformer, in trainings of any length.

    Luo, Cao, Yao, Zhang, Lou, Cheng, Shen, Yu, "Exploring Intrinsic Normal Prototypes within a Single Image for
    Universal Anomaly Detection", CVPR 2025.

    Parameters
    ----------
    backbone
        The transformer, a name of timm's; anomalib's ``encoder_name``.
    layers
        Its blocks whose tokens are reconstructed, as in ``["blocks.2", "blocks.3"]``: anomalib's ``target_layers``. By
        default eight in the middle: for networks of 24 blocks those of the paper, which anomalib's class forgets.
    fuse_layer_encoder, fuse_layer_decoder
        As in anomalib; by default two halves, which for eight layers are anomalib's groups.
    pre_trained
        Whether the transformer has trained weights.
    lr
        Largest learning rate. It rises in the first thirtieth of the steps, in 100 steps at most, and falls to a tenth.
    others
        As in anomalib.
    """

    model: InpFormerModel

    def __init__(
        self,
        backbone: str = "vit_base_patch14_reg4_dinov2",
        layers: Sequence[str] | None = None,
        fuse_layer_encoder: list[list[int]] | None = None,
        fuse_layer_decoder: list[list[int]] | None = None,
        remove_class_token: bool = True,
        inp_num: int = 6,
        precision: str | PrecisionType = PrecisionType.FLOAT32,
        pre_trained: bool = True,
        lr: float = 1e-3,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        rebound(super().__init__, InpFormerModel=partial(InpFormerModel, pre_trained=pre_trained))(
            backbone,
            block_numbers(layers) if layers else list(range(2, 10)),
            fuse_layer_encoder,
            fuse_layer_decoder,
            remove_class_token,
            inp_num,
            precision,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return anomalib's optimizer with a rate that follows the steps of the run."""
        options = TRAINING_CONFIG["optimizer"] | {"lr": self.lr}
        return configure_optimizer(self, self.trainable_modules.parameters(), options, _WARMUP)

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch as ``val_loss``."""
        normal = good_images(batch)
        if len(normal):
            encoded, decoded, coherence = self.model.get_encoder_decoder_inploss(normal)
            loss = cosine_distance(encoded, decoded) + 0.2 * coherence
            self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainInpFormer = derived(
    AnomalibInpFormer, InpFormerModel=derived(AnomalibInpFormerModel, TimmFeatureExtractor=untrained_tokens)
)

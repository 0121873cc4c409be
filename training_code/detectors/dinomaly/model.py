"""Dinomaly over any vision transformer, on shared tokens, with schedules that follow the steps of the run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from anomalib import PrecisionType
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import Dinomaly as AnomalibDinomaly
from anomalib.models.image.dinomaly.lightning_model import TRAINING_CONFIG
from anomalib.models.image.dinomaly.torch_model import DinomalyModel as AnomalibDinomalyModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig

from training_code.detectors.anomalib_seams import derived, rebound, token_extractor
from training_code.detectors.reconstruction import (
    configure_optimizer,
    cosine_distance,
    good_images,
    total_steps,
    transformer_sizes,
    untrained_tokens,
)
from training_code.detectors.transformers import block_numbers, halves
from training_code.foundation.errors import InputError

# The rate of learning rises in one of so many steps; points are mined harder from step to step in one of so many.
_WARMUP, _MINING = 50, 5


class DinomalyModel(AnomalibDinomalyModel):
    """anomalib's `DinomalyModel` over any transformer, with groups of any layers.

    anomalib takes the size of the network from its name, which has to contain small, base, large or huge; groups of
    layers that are given are lost in its constructor, and the first step fails.

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
        decoder_depth: int,
        pre_trained: bool,
        **options: Any,
    ) -> None:
        names = [f"blocks.{number}" for number in target_layers]
        encoder = token_extractor(encoder_name, names, pre_trained, norm=False, return_class_token=True)
        if options["use_context_recentering"] and not encoder.num_prefix_tokens:
            raise InputError(f"use_context_recentering=True subtracts the class token, and {encoder_name} has none")
        self._sizes = transformer_sizes(encoder)
        rebound(super().__init__, TimmFeatureExtractor=lambda **_: encoder)(
            encoder_name=encoder_name, target_layers=target_layers, decoder_depth=decoder_depth, **options
        )
        self.fuse_layer_encoder = fuse_layer_encoder or halves(len(target_layers))
        self.fuse_layer_decoder = fuse_layer_decoder or halves(decoder_depth)

    def _get_architecture_config(  # type: ignore[override]  # anomalib's has no state, and goes by names
        self, encoder_name: str, target_layers: list[int] | None
    ) -> dict[str, Any]:
        """Return channels and heads of the transformer."""
        return dict(self._sizes)


class Dinomaly(AnomalibDinomaly):
    """anomalib's `Dinomaly`, which downloads nothing, over any vision transformer, in trainings of any length.

    Guo, Lu, Zhang, Chen, Li, Liao, "Dinomaly: The Less Is More Philosophy in Multi-Class Unsupervised Anomaly
    Detection", CVPR 2025.

    Parameters
    ----------
    backbone
        The transformer, a name of timm's; anomalib's ``encoder_name``.
    layers
        Its blocks whose tokens are reconstructed, as in ``["blocks.2", "blocks.3"]``: anomalib's ``target_layers``. By
        default eight in the middle, as in anomalib.
    fuse_layer_encoder, fuse_layer_decoder
        As in anomalib; by default two halves, which for eight layers are anomalib's groups.
    pre_trained
        Whether the transformer has trained weights.
    lr
        Largest learning rate. It rises in the first fiftieth of the steps, in 100 steps at most, and falls to a tenth.
    others
        As in anomalib.
    """

    model: DinomalyModel

    def __init__(
        self,
        backbone: str = "vit_base_patch14_reg4_dinov2",
        bottleneck_dropout: float = 0.2,
        decoder_depth: int = 8,
        layers: Sequence[str] | None = None,
        fuse_layer_encoder: list[list[int]] | None = None,
        fuse_layer_decoder: list[list[int]] | None = None,
        remove_class_token: bool = False,
        use_context_recentering: bool = False,
        precision: str | PrecisionType = PrecisionType.FLOAT32,
        pre_trained: bool = True,
        lr: float = 2e-3,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        rebound(super().__init__, DinomalyModel=partial(DinomalyModel, pre_trained=pre_trained))(
            backbone,
            bottleneck_dropout,
            decoder_depth,
            block_numbers(layers) if layers else list(range(2, 10)),
            fuse_layer_encoder,
            fuse_layer_decoder,
            remove_class_token,
            use_context_recentering,
            precision,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return anomalib's optimizer; its rate, and the part of points that is mined, follow the steps of the run."""
        self.model.loss_fn.p_schedule_steps = max(1, min(1000, total_steps(self) // _MINING))
        options = TRAINING_CONFIG["optimizer"] | {"lr": self.lr}
        return configure_optimizer(self, self.trainable_modules.parameters(), options, _WARMUP)

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch as ``val_loss``."""
        normal = good_images(batch)
        if len(normal):
            loss = cosine_distance(*self.model.get_encoder_decoder_outputs(normal))
            self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainDinomaly = derived(
    AnomalibDinomaly, DinomalyModel=derived(AnomalibDinomalyModel, TimmFeatureExtractor=untrained_tokens)
)

"""DSR with all three phases, networks of any width, codebooks of any size, and any backbone as encoder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Dsr as AnomalibDsr
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.dsr.torch_model import (
    AnomalyDetectionModule,
    DecoderBot,
    DiscreteLatentModel,
    EncoderBot,
    EncoderTop,
    ResidualStack,
    UpsamplingModule,
)
from anomalib.models.image.dsr.torch_model import DsrModel as AnomalibDsrModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.dsr.codebook import Quantizer, TrainableResidual, check_codebook, read_codebook
from training_code.detectors.dsr.spec import epochs_of_phases
from training_code.detectors.plain_images import EvenFocalLoss, refuse_normalization, scaled
from training_code.foundation import paths
from training_code.foundation.errors import InputError

# The paper's numbers of channels, which anomalib's model has as defaults.
_HIDDENS, _RESIDUAL_HIDDENS, _BASE_WIDTH = 128, 64, 64


def _latent_model() -> type[DiscreteLatentModel]:
    """Return anomalib's class with our quantizers and residual blocks."""
    stack = derived(ResidualStack, Residual=TrainableResidual)
    return derived(
        DiscreteLatentModel,
        VectorQuantizer=Quantizer,
        EncoderTop=derived(EncoderTop, ResidualStack=stack),
        EncoderBot=derived(EncoderBot, ResidualStack=stack),
        DecoderBot=derived(DecoderBot, ResidualStack=stack),
    )


class DsrModel(AnomalibDsrModel):
    """anomalib's `DsrModel` with networks of any width.

    Parameters
    ----------
    width
        Factor of the number of channels of all networks but those that work on codes, whose width is ``embedding_dim``.
    latent_anomaly_strength, embedding_dim, num_embeddings
        As in anomalib.
    """

    def __init__(
        self, latent_anomaly_strength: float, embedding_dim: int, num_embeddings: int, width: float = 1.0
    ) -> None:
        rebound(super().__init__, DiscreteLatentModel=_latent_model())(
            latent_anomaly_strength,
            embedding_dim,
            num_embeddings,
            num_hiddens=max(2, scaled(_HIDDENS, width)),
            num_residual_hiddens=scaled(_RESIDUAL_HIDDENS, width),
        )
        base_width, images, maps = scaled(_BASE_WIDTH, width), 2 * self.image_dim, self.anomaly_map_dim
        self.anomaly_detection_module = AnomalyDetectionModule(images, maps, base_width)
        self.upsampling_module = UpsamplingModule(images + maps, maps, base_width)


class Dsr(AnomalibDsr):
    """anomalib's `Dsr` with phase 1, networks of any width, and a choice of encoder and codebooks.

    Parameters
    ----------
    latent_anomaly_strength, upsampling_train_ratio
        As in anomalib: of the epochs, ``int(max_epochs * upsampling_train_ratio)`` train reconstruction and detection
        (phase 2), the others the upsampling (phase 3).
    backbone
        A network whose features of strides 4 and 8 take the place of those of the encoders, frozen; None for the
        paper's encoders, which phase 1 trains.
    layers
        The two layers of the backbone.
    pre_trained
        Whether the backbone has trained weights.
    embedding_dim, num_embeddings
        Numbers in a code, and codes in each of the two codebooks.
    codebook
        File that phase 1 is read from, relative to ``weights/``; see `training_code.codebooks`. None
        for the published one if it lies in ``weights/`` and fits, otherwise phase 1 is trained on the training images.
    codebook_epochs
        Epochs of phase 1 where it is trained.
    lr, weight_decay
        Of Adam in phases 2 and 3; in phase 2 the learning rate falls to a tenth after 0.8 of the epochs, a schedule
        that anomalib creates but never steps.
    width
        Factor of the number of channels of the networks; 1 for the paper's.
    """

    model: DsrModel

    def __init__(
        self,
        latent_anomaly_strength: float = 0.2,
        upsampling_train_ratio: float = 0.7,
        backbone: str | None = None,
        layers: Sequence[str] | None = None,
        pre_trained: bool = True,
        embedding_dim: int = 128,
        num_embeddings: int = 4096,
        codebook: str | None = None,
        codebook_epochs: int = 20,
        lr: float = 2e-4,
        weight_decay: float = 0.0,
        width: float = 1.0,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(
            latent_anomaly_strength, upsampling_train_ratio, pre_processor, post_processor, evaluator, visualizer
        )
        refuse_normalization("Dsr", self.pre_processor)
        self.second_stage_loss.focal_loss = self.third_stage_loss.focal_loss = EvenFocalLoss(probabilities=True)
        self.lr, self.weight_decay = lr, weight_decay
        self.model = DsrModel(latent_anomaly_strength, embedding_dim, num_embeddings, width)
        if backbone is not None:
            extractor = feature_extractor(backbone, list(layers or []), pre_trained)
            encode_with(self.model.discrete_latent_model, extractor, embedding_dim)
        self.codebook = None if codebook is None else paths.WEIGHTS / codebook

    @property
    def latent_model(self) -> DiscreteLatentModel:
        """The encoders, the codebooks and the general decoder, which phase 1 trains and the others leave alone."""
        return self.model.discrete_latent_model

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Have the backbone get images with values from 0 to 1 normalized, by channel."""
        encoder = self.latent_model._encoder_b
        assert isinstance(encoder, _Pyramid)
        encoder.mean.copy_(torch.tensor(mean)[:, None, None])
        encoder.std.copy_(torch.tensor(std)[:, None, None])

    def load_codebook(self, path: Path) -> None:
        """Take phase 1 from a file, read as tensors only; one that does not fit is an `InputError`."""
        state = read_codebook(path)
        check_codebook(state, self.latent_model, path)
        self.latent_model.load_state_dict(state)
        self.codebook = path

    def on_train_start(self) -> None:
        """Check that phase 1 is there; nothing is downloaded."""
        if self.codebook is None:
            raise InputError("DSR has no codebook yet; valid: codebook=FILE, or load_codebook before training")

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Return the optimizers of phases 2 and 3, and the steps of the learning rate of phase 2."""
        assert self.trainer.max_epochs is not None
        self.second_phase = epochs_of_phases(self.trainer.max_epochs, self.upsampling_train_ratio)[0]
        networks = (
            self.model.image_reconstruction_network,
            self.model.subspace_restriction_module_hi,
            self.model.subspace_restriction_module_lo,
            self.model.anomaly_detection_module,
        )
        reconstruction = [parameter for network in networks for parameter in network.parameters()]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)
            for parameters in (reconstruction, self.model.upsampling_module.parameters())
        ]
        anneal = max(1, int(0.8 * self.second_phase))
        return optimizers, [torch.optim.lr_scheduler.StepLR(optimizers[0], anneal, gamma=0.1)]

    def on_train_epoch_end(self) -> None:
        """Step the learning rate of phase 2: under manual optimization Lightning does not."""
        if self.current_epoch < self.second_phase:
            schedule = self.lr_schedulers()
            assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
            schedule.step()

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the general decoder makes them from their codes."""
        return self.latent_model(images)["recon_image"]


class _Pyramid(nn.Module):
    """A frozen backbone in place of anomalib's lower encoder.

    anomalib's model hands the output of the lower encoder to the upper one, so that it has to hold the features for
    both: the fine ones and behind them the coarse ones, each position of these four times.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, extractor: TimmFeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.extractor((images - self.mean) / self.std)
        fine, coarse = (features[layer] for layer in self.extractor.layers)
        return torch.cat([fine, coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)], dim=1)


class _Coarse(nn.Module):
    """The coarse features that `_Pyramid` packed, in place of anomalib's upper encoder."""

    def __init__(self, fine: int) -> None:
        super().__init__()
        self.fine = fine

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        return packed[:, self.fine :, ::2, ::2]


class _FineProjection(nn.Conv2d):
    """The projection of the fine features and of the upper codes to the width of the codebook."""

    def __init__(self, fine: int, coarse: int, embedding_dim: int) -> None:
        super().__init__(fine + embedding_dim, embedding_dim, 1)
        self.fine, self.coarse = fine, coarse

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.cat([packed[:, : self.fine], packed[:, self.fine + self.coarse :]], dim=1))


def encode_with(model: DiscreteLatentModel, extractor: TimmFeatureExtractor, embedding_dim: int) -> None:
    """Have ``model`` encode images with fine and coarse features of ``extractor``, projected to the codes' width."""
    fine, coarse = extractor.out_dims
    model.add_module("_encoder_b", _Pyramid(extractor))
    model.add_module("_encoder_t", _Coarse(fine))
    model._pre_vq_conv_bot = _FineProjection(fine, coarse, embedding_dim).requires_grad_(False)
    model._pre_vq_conv_top = nn.Conv2d(coarse, embedding_dim, 1).requires_grad_(False)

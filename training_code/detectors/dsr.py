"""DSR with all three phases, networks of any width, codebooks of any size, and any backbone as encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Dsr as AnomalibDsr
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.dsr.torch_model import (
    AnomalyDetectionModule,
    DiscreteLatentModel,
    Residual,
    UpsamplingModule,
    VectorQuantizer,
)
from anomalib.models.image.dsr.torch_model import DsrModel as AnomalibDsrModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn

from training_code import paths
from training_code.detectors.codebook import PUBLISHED, Quantizer, TrainableResidual, check_codebook, read_codebook
from training_code.detectors.plain_images import EvenFocalLoss, check_image_size, refuse_normalization, scaled
from training_code.errors import InputError
from training_code.files import content_hash

# The paper's numbers of channels, which anomalib's model has as defaults.
_HIDDENS, _RESIDUAL_HIDDENS, _BASE_WIDTH = 128, 64, 64
_OURS = {VectorQuantizer: Quantizer, Residual: TrainableResidual}
#: Pixels of the image for each position of the upper (coarse) codes.
TOP_STRIDE = 8


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
        super().__init__(
            latent_anomaly_strength,
            embedding_dim,
            num_embeddings,
            num_hiddens=max(2, scaled(_HIDDENS, width)),
            num_residual_hiddens=scaled(_RESIDUAL_HIDDENS, width),
        )
        base_width, images, maps = scaled(_BASE_WIDTH, width), 2 * self.image_dim, self.anomaly_map_dim
        self.anomaly_detection_module = AnomalyDetectionModule(images, maps, base_width)
        self.upsampling_module = UpsamplingModule(images + maps, maps, base_width)
        for module in self.discrete_latent_model.modules():  # anomalib's class makes them itself
            module.__class__ = _OURS.get(module.__class__, module.__class__)


class Dsr(AnomalibDsr):
    """anomalib's `Dsr` with what it lacks.

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
        Of Adam in phases 2 and 3; in phase 2 the learning rate falls to a tenth after 0.8 of the epochs, a step that
        anomalib makes but never takes.
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
            extractor = TimmFeatureExtractor(backbone, list(layers or []), pre_trained)
            encode_with(self.model.discrete_latent_model, extractor, embedding_dim)
        self.codebook = None if codebook is None else paths.WEIGHTS / codebook

    @property
    def latent_model(self) -> DiscreteLatentModel:
        """The encoders, the codebooks and the general decoder, which phase 1 trains and the others leave alone."""
        return self.model.discrete_latent_model

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
        """Step the learning rate of phase 2: under manual optimisation nobody else does."""
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


def set_normalization(detector: Dsr, mean: Sequence[float], std: Sequence[float]) -> None:
    """Have the backbone of a detector get images with values from 0 to 1 normalised, by channel."""
    encoder = detector.latent_model._encoder_b
    assert isinstance(encoder, _Pyramid)
    encoder.mean.copy_(torch.tensor(mean)[:, None, None])
    encoder.std.copy_(torch.tensor(std)[:, None, None])


def epochs_of_phases(max_epochs: int, upsampling_train_ratio: float) -> tuple[int, int]:
    """Return the epochs of phase 2 and of phase 3."""
    second = int(max_epochs * upsampling_train_ratio)
    return second, max_epochs - second


def check_dsr(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse what would leave a phase out or could not be trained, with the valid values in an `InputError`."""
    check_image_size("Dsr", image_size)
    phases = epochs_of_phases(arguments["max_epochs"], arguments["upsampling_train_ratio"])
    if 0 in phases:
        raise InputError(
            f"max_epochs={arguments['max_epochs']} with upsampling_train_ratio={arguments['upsampling_train_ratio']} "
            f"gives {phases[0]} epochs to reconstruction and detection (phase 2) and {phases[1]} to the upsampling "
            "(phase 3); each needs at least 1"
        )
    vectors = images * (image_size[0] // TOP_STRIDE) * (image_size[1] // TOP_STRIDE)
    if find_codebook(arguments) is None and arguments["num_embeddings"] > vectors:
        raise InputError(
            f"num_embeddings={arguments['num_embeddings']} are more codes than the {vectors} vectors of {images} "
            f"training images; valid: 2 to {vectors}"
        )


def find_codebook(arguments: dict[str, Any]) -> Path | None:
    """Return the file that phase 1 is read from, None where it is to be trained.

    Raises
    ------
    InputError
        If a file was asked for that is not there.
    """
    if arguments["codebook"] is not None:
        path = paths.WEIGHTS / arguments["codebook"]
        if not path.is_file():
            raise InputError(f"codebook={arguments['codebook']!r}: there is no file {paths.relative_to_root(path)}")
        return path
    published = paths.WEIGHTS / PUBLISHED
    sizes = arguments["embedding_dim"], arguments["num_embeddings"], arguments["width"]
    fits = arguments["backbone"] is None and sizes == (128, 4096, 1.0)
    return published if fits and published.is_file() else None


def files_of_dsr(arguments: dict[str, Any]) -> dict[str, str]:
    """Return the hash of the codebook file, nothing where phase 1 is trained on the training images."""
    path = find_codebook(arguments)
    return {} if path is None else {"codebook": content_hash(path)}

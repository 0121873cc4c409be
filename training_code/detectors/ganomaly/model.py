"""GANomaly for images with values from 0 to 1 of any shape, with anomaly maps and a loss on held-out images."""

from typing import Any, cast

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.data.utils.image import pad_nextpow2
from anomalib.metrics import Evaluator
from anomalib.models import Ganomaly as AnomalibGanomaly
from anomalib.models.image.ganomaly.torch_model import GanomalyModel as AnomalibGanomalyModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torchvision.transforms.v2 import Compose, Resize

from training_code.detectors.anomalib_seams import rebound
from training_code.detectors.plain_images import refuse_normalization

# What a network gives its loss: padded images, their reconstructions, and the codes of both.
_Reconstructed = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class GanomalyModel(AnomalibGanomalyModel):
    """anomalib's `GanomalyModel`, initialized as it means to, for images of any shape, with anomaly maps.

    Parameters
    ----------
    input_size
        Height and width of images. They are padded to squares, for which anomalib's networks are too shallow if the
        shorter side is what they are made for: an image of another shape would get several scores.
    others
        As in anomalib.
    """

    def __init__(self, input_size: tuple[int, int], **options: Any) -> None:
        side = pad_nextpow2(torch.empty(1, 1, *input_size, device="meta")).shape[-1]
        super().__init__(input_size=(side, side), **options)
        # anomalib calls this with both networks instead of with their layers, and nothing happens.
        self.generator.apply(self.weights_init)
        self.discriminator.apply(self.weights_init)

    def forward(self, batch: torch.Tensor) -> _Reconstructed | InferenceBatch:
        """Return what the losses need while training, otherwise anomalib's scores, and differences as maps."""
        made = self.reconstructed(batch)
        if self.training:
            return made
        padded, fake, latent_i, latent_o = made
        scores = (latent_i - latent_o).square().mean(dim=1).reshape(-1)
        difference = (padded - fake).abs().mean(dim=1, keepdim=True)
        return InferenceBatch(pred_score=scores, anomaly_map=cropped(difference, batch.shape[-2], batch.shape[-1]))

    def reconstructed(self, images: torch.Tensor) -> _Reconstructed:
        """Return padded images, what the generator makes of them, and the codes of both."""
        padded = pad_nextpow2(images)
        fake, latent_i, latent_o = self.generator(padded)
        return padded, fake, latent_i, latent_o


class Ganomaly(AnomalibGanomaly):
    """anomalib's `Ganomaly` for images that its decoder can reconstruct: with values from 0 to 1.

    Akcay, Atapour-Abarghouei, Breckon, "GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training", ACCV
    2018. Scores are differences of codes, as there; anomaly maps are differences of pixels.

    Parameters
    ----------
    batch_size
        Without effect, as in anomalib.
    others
        As in anomalib.
    """

    model: GanomalyModel

    def __init__(
        self,
        batch_size: int = 32,
        n_features: int = 64,
        latent_vec_size: int = 100,
        extra_layers: int = 0,
        add_final_conv_layer: bool = True,
        wadv: int = 1,
        wcon: int = 50,
        wenc: int = 1,
        lr: float = 0.0002,
        beta1: float = 0.5,
        beta2: float = 0.999,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        rebound(super().__init__, GanomalyModel=GanomalyModel)(
            batch_size,
            n_features,
            latent_vec_size,
            extra_layers,
            add_final_conv_layer,
            wadv,
            wcon,
            wenc,
            lr,
            beta1,
            beta2,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        refuse_normalization("Ganomaly", self.pre_processor)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """Train both networks as anomalib does; log the loss of the generator as ``train_loss``."""
        assert batch.image is not None
        losses = cast(dict[str, torch.Tensor], super().training_step(batch, batch_idx))
        loss = losses["generator_loss"].detach()
        self.log("train_loss", loss, on_epoch=True, batch_size=len(batch.image))
        return {"loss": loss}

    def validation_step(self, batch: Batch, *_: Any) -> None:  # type: ignore[override]
        """Log the loss of the generator on the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if not len(normal):
            return
        padded, fake, latent_i, latent_o = self.model.reconstructed(normal)
        real, _ = self.model.discriminator(padded)
        false, _ = self.model.discriminator(fake)
        loss = self.generator_loss(latent_i, latent_o, padded, fake, real, false)
        self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Leave scores as they are; anomalib divides them by the range of those that came before."""

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the generator makes them."""
        return cropped(self.model.reconstructed(images)[1], images.shape[-2], images.shape[-1])

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Return a pre-processor that only resizes."""
        return PreProcessor(Compose([Resize(image_size or (256, 256), antialias=True)]))


def cropped(padded: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the part of images that anomalib's ``pad_nextpow2`` has put in the middle."""
    top, left = (-(-(side - own) // 2) for side, own in zip(padded.shape[-2:], (height, width), strict=True))
    return padded[..., top : top + height, left : left + width]

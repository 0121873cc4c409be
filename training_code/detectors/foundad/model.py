"""FoundAD over any vision transformer, on shared tokens, with altered images in the colors that they have."""

from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import timm
import torch
from anomalib.data import Batch
from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.metrics import Evaluator
from anomalib.models import FoundAD as AnomalibFoundAD
from anomalib.models.image.foundad.components.augmentation import FewShotAugmentation as AnomalibFewShotAugmentation
from anomalib.models.image.foundad.components.encoder_loader import TIMM_MODEL_NAMES, TimmDinoWrapper
from anomalib.models.image.foundad.torch_model import FoundADModel as AnomalibFoundADModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F
from torchvision.transforms import GaussianBlur
from torchvision.transforms.v2 import Normalize

from training_code.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from training_code.backbones.registry import get_backbone
from training_code.detectors.anomalib_seams import derived, rebound, token_extractor
from training_code.detectors.reconstruction import good_images, transformer_sizes
from training_code.features.extractor import nothing_stored
from training_code.foundation.errors import InputError

# Sides in pixels of the blur for images whose sides have at least so many, and for smaller ones, in the paper's code.
_LARGE, _BLUR, _SMALL_BLUR = 384, 23, 11
_IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)


class FewShotAugmentation(AnomalibFewShotAugmentation):
    """anomalib's `FewShotAugmentation`, for images of any shape and size.

    anomalib blurs small images as the paper's code does large ones, and fails as soon as it turns an image that is no
    square.
    """

    def __call__(self, imgs: torch.Tensor) -> torch.Tensor:
        """Return altered images, of the shape of ``imgs``."""
        height, width = imgs.shape[-2:]
        operations = self._orient_ops
        self._blur = GaussianBlur(_BLUR if min(height, width) >= _LARGE else _SMALL_BLUR, sigma=(0.1, 2.0))
        self._orient_ops = operations if height == width else operations[:2]  # mirrored along either side
        try:
            return super().__call__(imgs)
        finally:
            self._orient_ops = operations


class FoundADModel(AnomalibFoundADModel):
    """anomalib's `FoundADModel` on the tokens of any transformer.

    Parameters
    ----------
    layer
        The block whose tokens are projected.
    size
        Height and width of the images in pixels.
    pre_trained
        Whether the transformer has trained weights.
    others
        As in anomalib.
    """

    def __init__(self, encoder_name: str, layer: str, size: tuple[int, int], pre_trained: bool, **options: Any) -> None:
        tokens: Any = token_extractor(encoder_name, [layer], pre_trained)
        self._sizes = transformer_sizes(tokens)
        if options["pred_emb_dim"] % self._sizes["num_heads"]:
            raise InputError(
                f"pred_emb_dim={options['pred_emb_dim']} is no multiple of the {self._sizes['num_heads']} heads of "
                f"{encoder_name}; valid: one of its multiples"
            )
        positions = (size[0] // tokens.patch_size) * (size[1] // tokens.patch_size)
        tokens.embed_dim, tokens.patch_embed = self._sizes["embed_dim"], SimpleNamespace(num_patches=positions)
        rebound(super().__init__, load_encoder=lambda _: tokens)(encoder_name, **options | {"image_size": None})
        self.layer = layer

    def _get_architecture_config(self, encoder_name: str) -> dict[str, int]:  # type: ignore[override]  # as above
        """Return channels and heads of the transformer."""
        return self._sizes

    def extract_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of all patches, of shape (images, patches, channels)."""
        features = self.encoder(images)[self.layer]
        return F.normalize(features, dim=-1) if self.feat_normed else features


class FoundAD(AnomalibFoundAD):
    """anomalib's `FoundAD`, which downloads nothing, over any vision transformer.

    Zhai et al., "Foundation Visual Encoders Are Secretly Few-Shot Anomaly Detectors", ICLR 2026.

    Parameters
    ----------
    backbone
        The transformer, a name of timm's; anomalib's ``encoder_name``.
    layers
        The block that ``n_layer`` counts; nothing else is valid.
    pre_trained
        Whether the transformer has trained weights.
    others
        As in anomalib. Its ``image_size`` is the size of the images that it is given.
    """

    model: FoundADModel

    def __init__(
        self,
        backbone: str = "vit_base_patch14_dinov2",
        pred_depth: int = 6,
        pred_emb_dim: int = 384,
        n_layer: int = 3,
        top_k: int = 10,
        dropout: float = 0.2,
        feat_normed: bool = False,
        use_pos_embed: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        color_jitter: float = 0.5,
        use_few_shot_augmentation: bool = True,
        layers: Sequence[str] | None = None,
        pre_trained: bool = True,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        def make(**options: Any) -> FoundADModel:
            size = self.input_size or (options["image_size"], options["image_size"])
            layer = layers[0] if layers else get_backbone(backbone).layers[-n_layer].name
            return FoundADModel(layer=layer, size=size, pre_trained=pre_trained, **options)

        rebound(super().__init__, FoundADModel=make, FewShotAugmentation=FewShotAugmentation)(
            encoder_name=backbone,
            pred_depth=pred_depth,
            pred_emb_dim=pred_emb_dim,
            n_layer=n_layer,
            top_k=top_k,
            dropout=dropout,
            feat_normed=feat_normed,
            use_pos_embed=use_pos_embed,
            lr=lr,
            weight_decay=weight_decay,
            color_jitter=color_jitter,
            use_few_shot_augmentation=use_few_shot_augmentation,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )

    def training_step(self, batch: Batch, *_: Any) -> dict[str, torch.Tensor]:
        """Return anomalib's loss; features of altered images are not looked up, as they never recur."""
        assert batch.image is not None
        shown = images = self._recolored(batch.image)
        if self.few_shot_augment is not None:
            shown = self.few_shot_augment(images)
        pasted = self._recolored(self.cutpaste(shown), back=True)
        altered = shown is not images
        with nothing_stored(self.model.encoder) if altered else nullcontext():
            target = self.model.extract_features(self._recolored(shown, back=True) if altered else batch.image)
        with nothing_stored(self.model.encoder):
            loss = self.model._training_forward(target, pasted)
        self.log("train_loss", loss, on_epoch=True, batch_size=len(images))
        return {"loss": loss}

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the mean square by which the defect-free images of a batch are missed as ``val_loss``."""
        normal = good_images(batch)
        if len(normal):
            features = self.model.extract_features(normal)
            loss = F.mse_loss(features, self.model.predict(features))
            self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    def _recolored(self, images: torch.Tensor, back: bool = False) -> torch.Tensor:
        """Return images as networks of ImageNet get them, whose colors alone anomalib alters rightly, or back."""
        found = extract_transforms_by_type(getattr(self.pre_processor, "transform", None), Normalize)
        own = (tuple(found[0].mean), tuple(found[0].std)) if found else _IMAGENET
        if own == _IMAGENET:
            return images
        given, wanted = (_IMAGENET, own) if back else (own, _IMAGENET)
        (mean, std), (new_mean, new_std) = (
            [torch.tensor(values).to(images)[:, None, None] for values in statistics] for statistics in (given, wanted)
        )
        return (images * std + mean - new_mean) / new_std


def _untrained(name: str) -> TimmDinoWrapper:
    return TimmDinoWrapper(timm.create_model(TIMM_MODEL_NAMES[name], pretrained=False, dynamic_img_size=True))


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainFoundAD = derived(AnomalibFoundAD, FoundADModel=derived(AnomalibFoundADModel, load_encoder=_untrained))

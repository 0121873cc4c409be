"""WinCLIP, whose weights come from a file in ``weights/`` and whose references are training images."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import ImageBatch
from anomalib.metrics import Evaluator
from anomalib.models import WinClip as AnomalibWinClip
from anomalib.models.image.winclip import torch_model
from anomalib.models.image.winclip.torch_model import WinClipModel as AnomalibWinClipModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import rebound
from training_code.detectors.winclip.spec import FILE
from training_code.detectors.zero_shot import ZeroShot, load_published

# What images are normalized by, and their side, for the network that anomalib takes.
_MEAN, _STD, _SIDE = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 240


class _Untrained:
    """OpenCLIP, as anomalib's constructor looks it up, giving networks without weights."""

    @staticmethod
    def create_model_and_transforms(name: str, pretrained: str) -> tuple[nn.Module, Any, Any]:
        """Return the network of that name."""
        return torch_model.open_clip.create_model_and_transforms(name, pretrained=None)


class WinClipModel(AnomalibWinClipModel):
    """anomalib's `WinClipModel` on images of any size with values from 0 to 1.

    anomalib keeps its lists of buffers in a class that all models share, so that two models with other numbers of
    windows would take each other's; and forgets with a checkpoint whether it has references.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, scales: tuple[int, ...], apply_transform: bool = False, k_shot: int = 0) -> None:
        rebound(super().__init__, open_clip=_Untrained)(scales=scales, apply_transform=apply_transform)
        self.k_shot = k_shot
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    @property
    def masks(self) -> list[torch.Tensor]:
        """The windows of each scale."""
        return [self.get_buffer(f"_masks_{number}") for number in range(len(self.scales))]

    @property
    def _visual_embeddings(self) -> list[torch.Tensor]:
        return [self.get_buffer(f"__visual_embeddings_{number}") for number in range(len(self.scales))]

    @_visual_embeddings.setter
    def _visual_embeddings(self, values: list[torch.Tensor]) -> None:
        for number, value in enumerate(values):
            setattr(self, f"__visual_embeddings_{number}", value)

    def encode_image(self, batch: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        """Return embeddings of images, of their windows and of their patches, as anomalib does."""
        if batch.shape[-2:] != (_SIDE, _SIDE):
            batch = F.interpolate(batch, (_SIDE, _SIDE), mode="bicubic", antialias=True)
        return super().encode_image((batch - self.mean) / self.std)


class WinClip(ZeroShot, AnomalibWinClip):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `WinClip` with the same scores, which downloads nothing.

    Jeong, Zou, Kim, Zhang, Ravichandran, Dabeer, "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation",
    CVPR 2023.

    Parameters
    ----------
    class_name
        What images show, as a word in English; by default "object".
    k_shot
        How many training images, the first ones, it compares images with.
    others
        As in anomalib.
    """

    model: WinClipModel

    def __init__(
        self,
        class_name: str | None = None,
        k_shot: int = 0,
        scales: Sequence[int] = (2, 3),
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        def model(scales: tuple[int, ...], apply_transform: bool) -> WinClipModel:
            return WinClipModel(scales, apply_transform, k_shot)

        rebound(super().__init__, WinClipModel=model)(
            class_name, k_shot, tuple(scales), None, pre_processor, post_processor, evaluator, visualizer
        )
        self._references: list[torch.Tensor] = []

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """As many batches as may be needed for the references."""
        arguments = super().trainer_arguments
        return arguments | {"limit_train_batches": 1.0} if self.k_shot else arguments

    def setup(self, stage: str) -> None:
        """Do nothing: what anomalib does here before each use is done once, and is part of the checkpoint."""

    def on_fit_start(self) -> None:
        """Read the weights, and take in the words."""
        load_published(self.model.clip, FILE)
        self.model.setup(self.class_name or "object")

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Collect the first training images as references."""
        assert batch.image is not None
        if missing := self.k_shot - sum(map(len, self._references)):
            self._references.append(batch.image[:missing])
        return super().training_step(batch)

    def on_train_epoch_end(self) -> None:
        """Take in the references."""
        if self._references:
            self.model.eval()
            self.model.setup(reference_images=torch.cat(self._references))
            self.model.train()
            self._references = []

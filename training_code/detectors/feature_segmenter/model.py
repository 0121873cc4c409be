"""A segmenter on the features of a backbone: a few small convolutions, trained on good images and labelled defects."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import ImageBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule, MemoryBankMixin
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from training_code.data.sample_data import SampleDataset
from training_code.data.tiles import TileDataset
from training_code.detectors.build import image_transform
from training_code.detectors.feature_segmenter.head import FeatureSegmenterModel, found_in
from training_code.detectors.feature_segmenter.training import Views, divide, joined, train_heads
from training_code.detectors.feature_segmenter.views import altered, cut_paste
from training_code.detectors.leaving_out import Found, LeavesOut, TooLittleLeftError
from training_code.detectors.tiling import Tiles, tiles_of
from training_code.features.extractor import nothing_stored
from training_code.foundation.errors import InputError

# Images whose maps are made at once.
_IMAGES = 16


class FeatureSegmenter(LeavesOut, MemoryBankMixin, AnomalibModule):  # type: ignore[misc]  # as in anomalib
    """Small heads on the features of a backbone, with the interface of anomalib's detectors.

    The images are divided into folds, and each head is trained without one of them; what is deployed is the mean of
    their logits, as in Isensee et al., "nnU-Net", Nature Methods 2021. What the detector says of a training image that
    it has not seen is what the head without its fold says.

    Parameters
    ----------
    backbone, layers, pre_trained
        As in anomalib's detectors. The finest layer comes first; coarse ones see large defects.
    hidden
        Channels of a head.
    epochs
        How often each labelled image is shown.
    loss
        ``"bce_dice"``: cross-entropy with Dice loss; ``"focal"``: focal loss with Dice loss.
    augment
        Altered views of each labelled image, and of as many good ones: mirrored, moved, scaled, under another light.
        Each is another pass through the backbone.
    cut_paste
        Part of the views of good images onto which a labelled defect is pasted, for when labels are few.
    lr
        Largest learning rate.
    folds
        How many heads are trained.
    """

    model: FeatureSegmenterModel

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        layers: Sequence[str] = ("blocks.1", "blocks.2", "blocks.4", "blocks.6"),
        pre_trained: bool = True,
        hidden: int = 32,
        epochs: int = 60,
        loss: str = "bce_dice",
        augment: int = 8,
        cut_paste: float = 0.0,
        lr: float = 0.003,
        folds: int = 4,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(
            pre_processor=pre_processor, post_processor=post_processor, evaluator=evaluator, visualizer=visualizer
        )
        self.model = FeatureSegmenterModel(backbone, layers, pre_trained, hidden, folds)
        self.epochs, self.kind_of_loss, self.lr, self.folds = epochs, loss, lr, folds
        self.augment, self.cut_paste = augment, cut_paste
        self._parts: list[Views] = []
        self._paths: list[str] = []

    def training_step(self, batch: ImageBatch, *_: Any) -> torch.Tensor:
        """Collect the features of a batch of images and of altered views of them; the loss plays no part."""
        assert batch.image is not None and batch.gt_label is not None
        if batch.gt_mask is None:
            raise InputError("FeatureSegmenter learns from images with masks, and these have none")
        self.note(batch)
        labelled = batch.gt_label.bool().cpu()
        masks = batch.gt_mask.reshape(len(labelled), 1, *batch.image.shape[-2:]).float()
        numbers = torch.arange(len(labelled)) + len(self._paths)
        self._paths += batch.image_path or []
        self._collect(batch.image, masks, (numbers, labelled), original=True)
        share, generator = self._source.share, self._generator
        with nothing_stored(self.model.feature_extractor):
            for _view in range(self.augment):
                taken = labelled | (torch.rand(len(labelled), generator=generator) < share)
                if not taken.any():
                    continue
                images, marked = self._pasted(batch.image[taken], masks[taken], labelled[taken])
                view = altered(images, marked, generator)
                self._collect(*view, (numbers[taken], labelled[taken]), original=False)
        return torch.tensor(0.0, requires_grad=True, device=self.device)

    @torch.no_grad()
    def _collect(
        self, images: torch.Tensor, masks: torch.Tensor, about: tuple[torch.Tensor, torch.Tensor], original: bool
    ) -> None:
        features = [maps.half().cpu() for maps in self.model.features(images)]
        height, width = features[0].shape[-2:]
        targets = F.adaptive_avg_pool2d(masks, (height, width)).half().cpu()
        numbers, labelled = about
        self._parts.append(Views(features, targets, numbers, labelled, torch.full_like(labelled, original)))

    def _pasted(
        self, images: torch.Tensor, masks: torch.Tensor, labelled: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and masks in which labelled defects are pasted onto some of the good images."""
        chosen = (~labelled & (torch.rand(len(labelled), generator=self._generator) < self.cut_paste)).nonzero()[:, 0]
        if not len(chosen):
            return images, masks
        defective, marks = (each.to(images) for each in self._source.defective)
        images, masks = images.clone(), masks.clone()
        images[chosen], masks[chosen] = cut_paste(images[chosen], defective, marks, self._generator)
        return images, masks

    @cached_property
    def _source(self) -> "_Source":
        loader = self.trainer.train_dataloader
        assert isinstance(loader, DataLoader) and isinstance(loader.dataset, SampleDataset)
        return _Source(loader.dataset, image_transform(self), tiles_of(self))

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(torch.randint(2**31, ())))

    def fit(self) -> None:
        """Train the heads on the collected features, and release these unless they are asked to be kept."""
        source, views = self._source, joined(self._parts)
        self._parts = []
        groups, kinds = source.about(self._paths)
        folds = divide(groups, kinds, self.folds, self._generator)
        self.model.folds = torch.tensor([*dict(zip(groups, folds.tolist(), strict=True)).items()], device=self.device)
        originals = [maps[views.original] for maps in views.features]
        self.model.mean.copy_(torch.cat([maps.float().mean((0, 2, 3)) for maps in originals]))
        self.model.std.copy_(torch.cat([maps.float().std((0, 2, 3)) for maps in originals]).clamp(min=1e-6))
        with torch.enable_grad():
            train_heads(self.model, views, folds, self.epochs, self.lr, self.kind_of_loss)
        self._shapes = [maps.shape[1:] for maps in originals]
        self.keep([torch.cat([maps.flatten(1) for maps in originals], 1)])
        self._labelled = views.labelled[views.original]
        self._paths = []
        del self._source, self._generator

    @torch.no_grad()
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images that were transformed, of all layers one behind the other, float16."""
        found = self.model.features(images)
        self._shapes = [maps.shape[1:] for maps in found]
        return torch.cat([maps.half().flatten(1).cpu() for maps in found], 1)

    def recall(self, features: Any, labelled: torch.Tensor) -> None:
        """Keep the features of the training images, and which of them show labelled defects."""
        super().recall(features, labelled)
        self._labelled = labelled

    @torch.no_grad()
    def left_out(
        self, groups: torch.Tensor, others: Sequence[torch.Tensor], of_others: torch.Tensor
    ) -> Iterator[Found]:
        """Return scores and maps as the heads give them that were trained without the fold of each image's group."""
        if any(len(groups[chosen].unique()) < 2 for chosen in (self._labelled, ~self._labelled)):
            raise TooLittleLeftError("good images or labelled defects of a single group cannot be left out")
        fold_of = dict(self.model.folds.tolist())
        folds = [fold_of[group] for group in [*groups.tolist(), *of_others.tolist()]]
        begin = 0
        for batch in (part for rows in [*self.kept, *others] for part in rows.split(_IMAGES)):
            logits = self._by_heads(batch, folds[begin : begin + len(batch)])
            begin += len(batch)
            yield found_in(logits, self.image_size)

    def _by_heads(self, rows: torch.Tensor, folds: Sequence[int]) -> torch.Tensor:
        """Return the logits of images whose features lie one behind the other, each by one head."""
        shapes = self._shapes
        parts = rows.float().to(self.device).split([shape.numel() for shape in shapes], 1)
        features = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        found = [self.model.logits([maps[place, None] for maps in features], fold) for place, fold in enumerate(folds)]
        return torch.cat(found)

    @property
    def learning_type(self) -> LearningType:
        """One class and few labels; anomalib has no name for that."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One pass over the images, after which the heads are trained."""
        return {"max_epochs": 1, "num_sanity_val_steps": 0, "devices": 1}

    @staticmethod
    def configure_optimizers() -> None:
        """Return none: the heads have optimizers of their own."""
        return


class _Source:
    """The images that a segmenter is trained on."""

    def __init__(
        self, data: SampleDataset, transform: Callable[[torch.Tensor], torch.Tensor], tiles: Tiles | None
    ) -> None:
        self._data, self._transform = data, transform
        self._items = data if tiles is None else TileDataset(data, tiles.cut, len(tiles))
        self._labelled = [index for index, abnormal in enumerate(self._items.abnormal) if abnormal]

    @property
    def share(self) -> float:
        """Part of the good images, or tiles, that are as many as there are labelled ones."""
        return len(self._labelled) / max(1, len(self._items) - len(self._labelled))

    def about(self, paths: Sequence[str]) -> tuple[list[int], list[str]]:
        """Return group and defect type of each image."""
        place = {path: index for index, path in enumerate(self._data.paths)}
        kinds = self._data.defect_types
        return [self._data.groups[place[path]] for path in paths], [kinds[place[path]] for path in paths]

    @cached_property
    def defective(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The labelled images, or tiles, as the backbone gets them, and their masks."""
        items = self._items.__getitems__(self._labelled)
        images = torch.stack([item.image for item in items if item.image is not None])
        masks = torch.stack([item.gt_mask.reshape(1, *images.shape[-2:]) for item in items if item.gt_mask is not None])
        return self._transform(images), masks

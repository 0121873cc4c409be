"""Training the heads of the feature segmenter, each without one fold of the images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss
from tqdm import tqdm

from training_code.data.layout import NORMAL
from training_code.detectors.feature_segmenter.head import FeatureSegmenterModel, Head

_BATCH = 16
_WEIGHT_DECAY = 0.01
# Brings the focal loss (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017) to the size of a cross-entropy.
_OF_FOCAL = 10
# Epochs between two looks at the images of a head's fold.
_LOOK = 10


@dataclass(frozen=True)
class Views:
    """Features of images and of altered views of them.

    Attributes
    ----------
    features
        A map for each layer, of shape (views, channels, height, width), float16.
    targets
        The marked part of each position of the finest map, shape (views, 1, height, width), float16.
    images
        Number of the image that each view is of, shape (views,).
    labelled
        Whether that image shows a labelled defect, shape (views,).
    original
        Whether a view is the image as it is, shape (views,).
    """

    features: list[torch.Tensor]
    targets: torch.Tensor
    images: torch.Tensor
    labelled: torch.Tensor
    original: torch.Tensor

    def take(self, views: torch.Tensor, device: torch.device) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return features and targets of some views, in float32."""
        return [maps[views].to(device).float() for maps in self.features], self.targets[views].to(device).float()


def joined(parts: Sequence[Views]) -> Views:
    """Return several sets of views as one."""
    layers = range(len(parts[0].features))
    return Views(
        [torch.cat([part.features[layer] for part in parts]) for layer in layers],
        torch.cat([part.targets for part in parts]),
        torch.cat([part.images for part in parts]),
        torch.cat([part.labelled for part in parts]),
        torch.cat([part.original for part in parts]),
    )


def divide(groups: Sequence[int], kinds: Sequence[str], folds: int, generator: torch.Generator) -> torch.Tensor:
    """Return the fold of each image: images of one group are in one, and those of each kind in all as far as possible.

    Two groups with labelled defects are never all in one fold: each head has some to learn from.

    Parameters
    ----------
    groups, kinds
        Group and defect type of each image.
    folds
        How many there are.
    """
    found: dict[int, int] = {}
    offset = 0
    for kind in sorted(set(kinds), key=lambda name: (name == NORMAL, name)):
        of_kind = (group for group, other in zip(groups, kinds, strict=True) if other == kind)
        own = [group for group in dict.fromkeys(of_kind) if group not in found]  # a group may show several kinds
        order = torch.randperm(len(own), generator=generator).tolist()
        found |= {own[index]: (place + offset) % folds for place, index in enumerate(order)}
        offset += len(own)
    return torch.tensor([found[group] for group in groups])


def train_heads(
    model: FeatureSegmenterModel, views: Views, folds: torch.Tensor, epochs: int, lr: float, loss: str
) -> None:
    """Train each head without the images of its fold; of each the state that is best on its fold is kept.

    Every epoch shows each labelled image of the other folds once, in one of its views, and as many good ones.

    Parameters
    ----------
    views
        Their features, standardized by ``model.mean`` and ``model.std`` here.
    folds
        Of each image.
    epochs, lr, loss
        As of `training_code.detectors.feature_segmenter.model.FeatureSegmenter`.
    """
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    progress = tqdm(total=len(model.heads) * epochs, desc="heads", unit="epoch", leave=False)
    with progress:
        for fold, head in enumerate(model.heads):
            own = folds[views.images] == fold
            assert isinstance(head, Head)
            _train(head, model, _Part(views, own, generator), (epochs, lr, loss), progress)


class _Part:
    """The views that a head is trained on, and those of its fold as they are."""

    def __init__(self, views: Views, own: torch.Tensor, generator: torch.Generator) -> None:
        self.views, self.generator = views, generator
        self.good = (~own & ~views.labelled).nonzero().flatten()
        labelled = (~own & views.labelled).nonzero().flatten()
        images = views.images[labelled]
        self.by_image = [labelled[images == image] for image in images.unique()]
        self.held_out = (own & views.original).nonzero().flatten()

    def batches(self) -> Iterator[torch.Tensor]:
        """Return the views of an epoch in batches."""
        chosen = [rows[self._drawn(len(rows), 1)] for rows in self.by_image]
        good = self.good[self._drawn(len(self.good), len(chosen))] if len(self.good) else self.good
        together = torch.cat([*chosen, good])
        yield from together[torch.randperm(len(together), generator=self.generator)].split(_BATCH)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        count = len(self.by_image) * (2 if len(self.good) else 1)
        return -(-count // _BATCH)

    def flips(self) -> list[int]:
        """Return the axes along which a batch is mirrored."""
        return [axis for axis in (-1, -2) if self._drawn(2, 1)]

    def _drawn(self, below: int, count: int) -> torch.Tensor:
        return torch.randint(below, (count,), generator=self.generator)


def _train(
    head: Head, model: FeatureSegmenterModel, part: _Part, settings: tuple[int, float, str], progress: tqdm
) -> None:
    epochs, lr, loss = settings
    device = model.mean.device
    optimizer = torch.optim.AdamW(head.parameters(), lr, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * part.steps)
    best, kept = float("inf"), None
    for epoch in range(1, epochs + 1):
        head.train()
        for batch in part.batches():
            features, targets = part.views.take(batch, device)
            flips = part.flips()
            standardized = [maps.flip(flips) for maps in model.standardized(features)]
            optimizer.zero_grad()
            _loss(head(standardized), targets.flip(flips), loss).backward()
            optimizer.step()
            schedule.step()
        progress.update()
        if len(part.held_out) and (epoch == epochs or (2 * epoch > epochs and epoch % _LOOK == 0)):
            held_out = _held_out(head, model, part, device)
            if held_out <= best:
                best, kept = held_out, {name: value.clone() for name, value in head.state_dict().items()}
    if kept is not None:
        head.load_state_dict(kept)
    head.eval()


@torch.no_grad()
def _held_out(head: Head, model: FeatureSegmenterModel, part: _Part, device: torch.device) -> float:
    """Return the Dice loss of a head on its fold."""
    head.eval()
    overlap = total = 0.0
    for batch in part.held_out.split(_BATCH):
        features, targets = part.views.take(batch, device)
        found = head(model.standardized(features)).sigmoid()
        overlap += float((found * targets).sum())
        total += float(found.sum() + targets.sum())
    return 1 - 2 * overlap / max(total, 1e-9)


def _loss(logits: torch.Tensor, targets: torch.Tensor, kind: str) -> torch.Tensor:
    """Return cross-entropy or focal loss, and the Dice loss of Milletari et al., "V-Net", 3DV 2016, over the batch."""
    found = logits.sigmoid()
    dice = 1 - (2 * (found * targets).sum() + 1) / (found.sum() + targets.sum() + 1)
    if kind == "focal":
        return _OF_FOCAL * sigmoid_focal_loss(logits, targets, alpha=-1, gamma=2, reduction="mean") + dice
    return F.binary_cross_entropy_with_logits(logits, targets) + dice

"""Altered views of images and their masks, of which a segmenter learns what does not matter."""

import torch
from torch.nn import functional as F

# By how much contrast and brightness change, the latter in deviations of the backbone's images; by which part a view is
# smaller or larger than the image, how far it is moved, as a part of half the image, and how much it is stretched.
_CONTRAST, _BRIGHTNESS, _SCALE, _MOVED, _STRETCHED = (0.75, 1.3), 0.4, (0.75, 1.15), 0.25, (0.9, 1.1)
# How far a defect that is pasted is moved at most, as a part of the image; over how many pixels its edge is softened.
_PASTED, _SOFT = 0.25, 5


def altered(images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a view of each image: mirrored, moved, scaled, and under another light.

    Parameters
    ----------
    images
        Shape (N, 3, height, width), normalized for the backbone.
    masks
        Shape (N, 1, height, width), 1 for defective.
    generator
        Of the processor; what it draws does not depend on the device.
    """
    count, device = len(images), images.device

    def drawn(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    flips = torch.where(torch.rand(count, 2, generator=generator) < 0.5, -1.0, 1.0)
    scale = drawn(*_SCALE)
    grid = torch.zeros(count, 2, 3)
    grid[:, 0, 0], grid[:, 1, 1] = scale * flips[:, 0], scale * drawn(*_STRETCHED) * flips[:, 1]
    grid[:, :, 2] = torch.stack([drawn(-_MOVED, _MOVED), drawn(-_MOVED, _MOVED)], 1)
    places = F.affine_grid(grid, list(images.shape), align_corners=False).to(device)
    view = F.grid_sample(images, places, padding_mode="reflection", align_corners=False)
    marked = F.grid_sample(masks.float(), places, padding_mode="reflection", align_corners=False)
    mean = view.mean((1, 2, 3), keepdim=True)
    contrast, brightness = drawn(*_CONTRAST).to(device), drawn(-_BRIGHTNESS, _BRIGHTNESS).to(device)
    return (view - mean) * contrast[:, None, None, None] + mean + brightness[:, None, None, None], marked


def cut_paste(
    images: torch.Tensor, defective: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return good images onto each of which a labelled defect is pasted, moved and mirrored, and its mask.

    After Li et al., "CutPaste", CVPR 2021, with real defects and soft edges.

    Parameters
    ----------
    images
        Good ones, shape (N, 3, height, width).
    defective, masks
        Images with defects and what they mark, shapes (M, 3, height, width) and (M, 1, height, width).
    generator
        Of the processor.
    """
    chosen = torch.randint(len(defective), (len(images),), generator=generator)
    pasted, marks = [], []
    for image, source in zip(images, chosen.tolist(), strict=True):
        patch, mask = defective[source], masks[source].float()
        for axis in (-1, -2):
            most = int(_PASTED * image.shape[axis])
            step = int(torch.randint(-most, most + 1, (1,), generator=generator))
            patch, mask = patch.roll(step, axis), mask.roll(step, axis)
            if torch.rand((), generator=generator) < 0.5:
                patch, mask = patch.flip(axis), mask.flip(axis)
        soft = F.avg_pool2d(F.max_pool2d(mask[None], _SOFT, 1, _SOFT // 2), _SOFT, 1, _SOFT // 2)[0]
        level = image.mean((-2, -1), keepdim=True) - patch.mean((-2, -1), keepdim=True)
        pasted.append(image * (1 - soft) + (patch + level) * soft)
        marks.append(mask)
    return torch.stack(pasted), torch.stack(marks)

"""RAD as a graph."""

import torch
from torch import nn
from torch.nn import functional as F

from inference_code.graphs.parts import taken
from training_code.detectors.rad.model import RadModel


def to_graph(model: RadModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return RadGraph.take(model)


class RadGraph(RadModel):
    """`RadModel` for any number of images, each compared with the whole memory bank.

    The images that are not among the most alike are masked, where there are more than those.
    """

    @classmethod
    def take(cls, original: RadModel) -> "RadGraph":
        """Return a model of this class with the parts of another one."""
        model = taken(cls, original)
        model.patch_banks = original.patch_banks.float()
        return model

    def _compute_patch_scores(
        self, patch_list: list[torch.Tensor], topk_idx: torch.Tensor, grid: tuple[int, int]
    ) -> torch.Tensor:
        """Return the patch scores of all images, shape (images, positions)."""
        images = self.patch_banks.shape[2]
        others = None
        if self.k_image < images:
            others = patch_list[0].new_ones(topk_idx.shape[0], images).scatter(1, topk_idx, 0.0).bool()
        scored = self._best_at_place if self.use_positional_bank else self._best_anywhere
        scores = [
            weight * (1 - scored(F.normalize(patches, dim=-1), bank, others, grid))
            for weight, patches, bank in zip(self._layer_weights, patch_list, self.patch_banks, strict=True)
        ]
        return torch.stack(scores).sum(0)

    @staticmethod
    def _best_anywhere(
        patches: torch.Tensor, bank: torch.Tensor, others: torch.Tensor | None, grid: tuple[int, int]
    ) -> torch.Tensor:
        """Return the largest similarity of each patch, (images, positions), to those of the bank at any position."""
        found = patches @ bank.flatten(0, 1).T
        if others is not None:
            found = found.masked_fill(others.repeat(1, len(bank))[:, None], -1.0)
        return found.amax(2)

    def _best_at_place(
        self, patches: torch.Tensor, bank: torch.Tensor, others: torch.Tensor | None, grid: tuple[int, int]
    ) -> torch.Tensor:
        """Return the largest similarity of each patch to those of the bank within `pos_radius` of its position."""
        rows, columns = grid
        places, kept = patches.reshape(-1, *grid, patches.shape[2]), bank.unflatten(0, grid)
        best = torch.full_like(places[..., 0], -1.0)
        for _, down, right, top, bottom, left, end in self._neighborhood_plan(grid):
            part = places[:, top - down : bottom - down, left - right : end - right]
            found = (part.permute(1, 2, 0, 3) @ kept[top:bottom, left:end].transpose(2, 3)).permute(2, 0, 1, 3)
            if others is not None:
                found = found.masked_fill(others[:, None, None], -1.0)
            # What lies beside the part stays as it is.
            border = (left - right, columns - end + right, top - down, rows - bottom + down)
            best = torch.maximum(best, F.pad(found.amax(3), border, value=-1.0))
        return best.flatten(1)

"""AnomalyDINO as a graph."""

import torch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from torch import nn

from inference_code.graphs.parts import Blur, nearest, taken
from training_code.detectors.anomalib_seams import derived
from training_code.detectors.anomaly_dino.model import AnomalyDINOModel
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.foundation.errors import InputError


def to_graph(model: AnomalyDINOModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it; one that masks the background is refused."""
    if model.masking:
        raise InputError(
            "AnomalyDINO with masking=True decomposes the features of each image, which no graph can; valid: torch, "
            "the run itself"
        )
    # Maps are blurred before their border is put around them, where the patches leave one.
    blur = derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d)().blur
    assert isinstance(blur, BandedGaussianBlur2d)
    _, _, height, width = model.inside(image_size)
    setattr(model.anomaly_map_generator, "blur", Blur(blur, (height, width)))  # noqa: B010  # declared as anomalib's
    return taken(AnomalyDINOGraph, model)


class AnomalyDINOGraph(AnomalyDINOModel):
    """`AnomalyDINOModel`, the distances to the whole memory bank in one product."""

    def distances(self, patches: torch.Tensor, left_out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean cosine distance to the nearest rows of the memory bank."""
        count = min(self.num_neighbours, len(self.memory_bank))
        return nearest(patches, self.memory_bank, count).square().mean(1) / 2

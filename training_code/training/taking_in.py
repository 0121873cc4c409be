"""Good images that a fitted detector takes in afterwards."""

import torch

from training_code.data.datamodule import SampleDataModule
from training_code.detectors.teaching import Fitted, Teachable
from training_code.training.calibrating import embedded


@torch.no_grad()
def take_in(detector: Teachable, data: SampleDataModule, device: torch.device, radius: float | None) -> int | None:
    """Have a detector that was loaded take in the taught images of ``data``; return what `Teachable.take_in` does.

    Parameters
    ----------
    detector
        Fitted to the training images of ``data``.
    device
        What computes.
    radius
        As of `Fitted`.
    """
    assert data.taught_data is not None
    detector.to(device).eval()
    features = detector.collection()
    for _, found in embedded(detector, data.taught_data, data, device):
        features.append(found)
    taken = detector.take_in(features, Fitted(len(data.fitted_data), radius), data.taught_weight)
    detector.cpu()
    return taken

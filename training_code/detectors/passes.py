"""A pass over the training images before an epoch, as some detectors need it for a center of their features."""

from collections.abc import Iterator

import torch
from anomalib.models.components import AnomalibModule
from torch.utils.data import DataLoader

from training_code.detectors.build import image_transform


def training_images(detector: AnomalibModule) -> Iterator[torch.Tensor]:
    """Yield all training images in their order, transformed as training has them, on the device of the detector.

    anomalib takes them from the loader of training, whose images have not been resized and normalized yet: a center is
    then that of images that the detector never sees.
    """
    loader = detector.trainer.train_dataloader
    assert isinstance(loader, DataLoader)
    transform = image_transform(detector)
    for batch in DataLoader(loader.dataset, loader.batch_size, collate_fn=loader.collate_fn):
        yield transform(batch.image.to(detector.device))

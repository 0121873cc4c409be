"""Building a detector from a configuration, with features of a network whose weights come from a file."""

from collections.abc import Callable, Sequence

import torch
from anomalib.models.components import AnomalibModule
from anomalib.pre_processing import PreProcessor
from torch import nn
from torchvision.transforms.v2 import Compose, Identity, Normalize, Resize, Transform

from training_code.detectors.anomalib_seams import FeatureSource, extracting_with
from training_code.detectors.configuration import TRAINING, Configuration
from training_code.detectors.registry import get_detector
from training_code.detectors.tiling import Tiles, tiled
from training_code.features.extractor import FeatureExtractor
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache
from training_code.protocol import DEFAULT_COMPUTE, ComputeOptions


def build_detector(
    configuration: Configuration,
    network: nn.Module | None,
    image_size: tuple[int, int] | Tiles,
    statistics: tuple[Sequence[float], Sequence[float]] | None = None,
    compute: ComputeOptions = DEFAULT_COMPUTE,
    store: FeatureStore | None = None,
) -> AnomalibModule:
    """Return the detector over ``network``, giving raw scores and maps.

    Random choices, such as the features that PaDiM keeps, are drawn from torch's generator: seed it before.

    Parameters
    ----------
    configuration
        The checked configuration.
    network
        The backbone's network, as `training_code.backbones.reading.load_backbone` returns it; None for a detector
        without a backbone.
    image_size
        Height and width in pixels that the detector resizes images to; or the tiles that its model gets of images of
        one size, which are not resized again. A detector that is made of others leaves the tiles to them.
    statistics
        Mean and deviation of images with values from 0 to 1, by channel; None without a backbone. Detectors that
        reconstruct images get them as they are, and normalize them for their backbone themselves.
    compute
        How the backbone computes.
    store
        Where features, and everything else that the detector can share with others, are looked up and kept.
    """
    spec = get_detector(configuration.detector)
    arguments = {name: value for name, value in configuration.arguments.items() if name not in TRAINING}

    tiles = image_size if isinstance(image_size, Tiles) else None
    cls = spec.load()
    if tiles is not None and spec.combines is None:
        cls = tiled(cls, tiles)
    transforms: list[Transform] = [Resize(image_size, antialias=True) if tiles is None else Identity()]
    if spec.normalizes:
        assert statistics is not None
        mean, std = map(list, statistics)
        transforms.append(Normalize(mean=mean, std=std))
    source: FeatureSource | None = None
    if network is not None:
        backbone = configuration.backbone
        assert backbone is not None
        source = FeatureSource(network, backbone, configuration.layers, compute, store)
        # Plain arguments, which the checkpoint keeps: it loads without running code.
        arguments |= {"backbone": backbone.architecture, "pre_trained": False}
    with extracting_with(source):
        detector = cls(
            **arguments,
            pre_processor=PreProcessor(Compose(transforms)),
            post_processor=False,
            evaluator=False,
            visualizer=False,
        )
    if network is not None and (set_normalization := getattr(detector, "set_normalization", None)):
        assert statistics is not None
        set_normalization(*statistics)
    share_work(detector, store.cache if store else None)
    return detector


def image_transform(detector: AnomalibModule) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what a detector does to images, of values from 0 to 1, before its model gets them."""
    pre_processor = detector.pre_processor
    assert isinstance(pre_processor, PreProcessor) and pre_processor.transform is not None
    return pre_processor.transform


def feature_extractor(detector: AnomalibModule) -> FeatureExtractor | None:
    """Return the detector's feature extractor, None where it has none."""
    return next(iter(feature_extractors(detector)), None)


def feature_extractors(detector: AnomalibModule) -> list[FeatureExtractor]:
    """Return all feature extractors of a detector: more than one where it is made of several."""
    return [module for module in detector.modules() if isinstance(module, FeatureExtractor)]


def stop_sharing(detector: AnomalibModule) -> None:
    """Have a detector compute everything itself from now on, as it should for images that do not recur."""
    for extractor in feature_extractors(detector):
        extractor.store = None
    share_work(detector, None)


def share_work(detector: AnomalibModule, cache: TensorCache | None) -> None:
    """Have a detector that shares more than features look its work up in ``cache``; None turns sharing off."""
    if share := getattr(detector, "share", None):
        share(cache)

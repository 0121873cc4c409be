"""PaDiM with Gaussians that are fitted and evaluated in the cheaper exact form."""

from collections.abc import Iterator

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Padim as AnomalibPadim
from anomalib.models.image.padim.torch_model import PadimModel as AnomalibPadimModel
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.leaving_out import Found
from training_code.detectors.padim.gaussian import FactorizedAnomalyMapGenerator, FactorizedGaussian
from training_code.detectors.padim.leave_out import left_out_distances
from training_code.detectors.padim.merging import merge
from training_code.detectors.padim.trimming import kept_images
from training_code.detectors.teaching import Fitted, Teachable
from training_code.features.collected import Collected

# Images whose maps are made at once.
_IMAGES = 32


class PadimModel(AnomalibPadimModel):
    """anomalib's `PadimModel`, whose embedding is made without the features that are not kept."""

    def __init__(self, backbone: str, layers: list[str], pre_trained: bool, n_features: int | None) -> None:
        rebound(super().__init__, TimmFeatureExtractor=feature_extractor)(backbone, layers, pre_trained, n_features)
        self.memory_bank = Collected()
        self.gaussian = FactorizedGaussian()
        self.anomaly_map_generator = FactorizedAnomalyMapGenerator(self.gaussian)

    gaussian: FactorizedGaussian
    memory_bank: Collected  # type: ignore[assignment]  # anomalib has a list

    def at_tile(self, tile: int, tiles: int) -> None:
        """Compare images from now on with the Gaussians of one of so many tiles."""
        generator, each = self.anomaly_map_generator, self.gaussian.mean.shape[1] // tiles
        assert isinstance(generator, FactorizedAnomalyMapGenerator)
        generator.use(self.gaussian.part(slice(tile * each, (tile + 1) * each)))

    def generate_embedding(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the chosen features of all layers, of shape (batch, n_features, height, width) of the first layer."""
        first = features[self.layers[0]]
        embedding = first.new_empty(len(first), len(self.idx), *first.shape[-2:])
        begin = 0
        for layer in self.layers:
            end = begin + features[layer].shape[1]
            places = ((self.idx >= begin) & (self.idx < end)).nonzero().flatten().to(first.device)
            channels = self.idx[places] - begin
            # One image at a time stays in the processor's caches.
            for image, maps in zip(embedding, features[layer], strict=True) if len(places) else ():
                image.index_copy_(0, places, _nearest(maps[channels], *first.shape[-2:]))
            begin = end
        return embedding


def _nearest(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return maps of shape (channels, h, w) at another size, as torch's interpolation to the nearest does."""
    channels, h, w = maps.shape
    if height % h or width % w:
        return F.interpolate(maps[None], size=(height, width), mode="nearest")[0]
    return maps[:, :, None, :, None].expand(-1, -1, height // h, -1, width // w).reshape(channels, height, width)


class Padim(Teachable, AnomalibPadim):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Padim` with its distances, in less time and memory.

    Parameters
    ----------
    trim
        Part of the training images that is left out of the Gaussian of each position: those that lie farthest from the
        others there, see `training_code.detectors.padim.trimming`. For training sets that may show defects. Thresholds
        then come from images that are held out, as `validation_split` says.
    others
        As in anomalib.
    """

    model: PadimModel
    by_position = True

    def __init__(
        self,
        backbone: str = "resnet18",
        layers: list[str] = ["layer1", "layer2", "layer3"],  # noqa: B006  anomalib's default
        pre_trained: bool = True,
        n_features: int | None = None,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        trim: float = 0.0,
    ) -> None:
        rebound(super().__init__, PadimModel=PadimModel)(
            backbone, layers, pre_trained, n_features, pre_processor, post_processor, evaluator, visualizer
        )
        self.model.gaussian.trim = trim

    def fit(self) -> None:
        """Fit the Gaussians to the collected features and release the features, unless they are asked to be kept."""
        self.model.gaussian.fit_batches(self.model.memory_bank)
        self.keep(self.model.memory_bank)
        self.model.memory_bank = Collected()

    def collection(self) -> Collected:
        """Return where features are put together: in a file where they take too much memory."""
        return Collected()

    def collect(self, features: torch.Tensor) -> None:
        """Take the features of training images, of shape (images, n_features, height, width)."""
        self.model.memory_bank.append(features)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images that were transformed, of shape (images, n_features, height, width)."""
        return self.model.generate_embedding(self.model.feature_extractor(images))

    def take_in(self, features: Collected, fitted: Fitted, weight: int) -> None:
        """Merge the sums of images into the Gaussians."""
        gaussian = self.model.gaussian
        merge(gaussian, kept_images(fitted.images, gaussian.trim), features, weight)

    def left_out(self, groups: torch.Tensor, others: Collected, of_others: torch.Tensor) -> Iterator[Found]:
        """Return scores and maps as Gaussians give them that are fitted without the group of each image.

        Where the features are those of several tiles, scores and maps are those of each tile.
        """
        distances = left_out_distances(self.kept, groups, others, of_others)
        generator = self.model.anomaly_map_generator
        assert isinstance(generator, FactorizedAnomalyMapGenerator)
        for part in self.by_tile(distances).split(_IMAGES):
            maps = generator.of_distances(part, self.image_size)
            yield maps.amax((-2, -1)), maps

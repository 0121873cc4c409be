"""PaDiM with Gaussians that are fitted and evaluated in the cheaper exact form."""

from anomalib.metrics import Evaluator
from anomalib.models import Padim as AnomalibPadim
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.gaussian import FactorizedAnomalyMapGenerator, FactorizedGaussian
from training_code.detectors.smoothing import BandedGaussianBlur2d


class Padim(AnomalibPadim):
    """anomalib's `Padim` with its distances, in less time and memory."""

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
    ) -> None:
        super().__init__(
            backbone, layers, pre_trained, n_features, pre_processor, post_processor, evaluator, visualizer
        )
        self.model.gaussian = FactorizedGaussian()
        self.model.anomaly_map_generator = FactorizedAnomalyMapGenerator(self.model.gaussian)
        BandedGaussianBlur2d.replace(self.model.anomaly_map_generator.blur)

    def fit(self) -> None:
        """Fit the Gaussians to the collected features and let go of these."""
        self.model.gaussian.fit_batches(self.model.memory_bank)
        self.model.memory_bank = []

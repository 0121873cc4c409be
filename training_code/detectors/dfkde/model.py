"""DFKDE on shared features of any number of layers, whose scores keep apart what lies far from all good images."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import Dfkde as AnomalibDfkde
from anomalib.models.components import GaussianKDE
from anomalib.models.components.classification import FeatureScalingMethod
from anomalib.models.components.classification import KDEClassifier as AnomalibKDEClassifier
from anomalib.models.image.dfkde.torch_model import DfkdeModel as AnomalibDfkdeModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.whole_images import everywhere

# anomalib's probability of an anomaly is the logistic function of this factor times how far the logarithm of the
# density lies below that value.
_FACTOR, _MIDDLE = 0.05, 12


class LogDensity(GaussianKDE):
    """anomalib's `GaussianKDE`, of which the logarithm is computed, and for all images at once.

    A density of float32 is 0 from some 14 bandwidths on, so that its logarithm tells nothing of how far that is.
    anomalib subtracts the mean from the points in place, and not from what is compared with them.
    """

    def fit(self, dataset: torch.Tensor) -> None:
        """Fit to points of shape (points, dimensions), more points than dimensions."""
        count, dimensions = dataset.shape
        points = dataset.double()
        factor = count ** (-1 / (dimensions + 4))  # Scott's rule
        precision = torch.linalg.inv(torch.cov(points.T).reshape(dimensions, dimensions)) / factor**2
        transform = torch.linalg.cholesky(precision)
        self.bw_transform = transform.float()
        self.dataset = (points @ transform).float()
        self.norm = (transform.diagonal().prod() * (2 * math.pi) ** (-dimensions / 2)).float()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density at each of the features of shape (images, dimensions)."""
        count, dimensions = self.dataset.shape
        norm = self.bw_transform.diagonal().log().sum() - dimensions / 2 * math.log(2 * math.pi) - math.log(count)
        squared = ((features @ self.bw_transform)[:, None] - self.dataset).square().sum(2)
        return torch.logsumexp(-squared / 2, dim=1) + norm


class KDEClassifier(AnomalibKDEClassifier):
    """anomalib's `KDEClassifier` over `LogDensity`, which changes nothing that it is given.

    Attributes
    ----------
    log_odds
        Whether ``predict`` gives the logarithm of the odds in place of the probability, which is 1 for all that is far.
    """

    log_odds = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        rebound(super().__init__, GaussianKDE=LogDensity)(*arguments, **options)

    def fit(self, embeddings: torch.Tensor) -> bool:
        """Fit to features of shape (images, dimensions); True, since there is a model then.

        Raises
        ------
        ValueError
            If there are not more images than components: anomalib makes no model of fewer, and fails when it is asked.
        """
        if min(len(embeddings), self.max_training_points) <= self.n_pca_components:
            raise ValueError(f"{len(embeddings)} images are too few for {self.n_pca_components} components")
        if len(embeddings) > self.max_training_points:
            chosen = torch.randperm(len(embeddings))[: self.max_training_points]
            embeddings = embeddings[chosen.to(embeddings.device)]
        pca = self.pca_model
        pca.mean = embeddings.mean(dim=0)
        _, _, vectors = torch.linalg.svd((embeddings - pca.mean).double(), full_matrices=False)
        pca.singular_vectors = vectors[: self.n_pca_components].T.float()
        pca.num_components = torch.tensor([self.n_pca_components], device=embeddings.device)
        components = self._components(embeddings)
        self.max_length = components.norm(dim=1).max()
        self.kde_model.fit(self._scaled(components))
        return True

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Return log-odds or probabilities that features of shape (images, dimensions) are of an anomaly."""
        odds = _FACTOR * (_MIDDLE - self.kde_model(self._scaled(self._components(features))))
        return odds if self.log_odds else odds.sigmoid()

    def _components(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.pca_model.mean) @ self.pca_model.singular_vectors

    def _scaled(self, components: torch.Tensor) -> torch.Tensor:
        if self.feature_scaling_method == FeatureScalingMethod.NORM:
            return components / components.norm(dim=1, keepdim=True)
        return components / self.max_length


class DfkdeModel(AnomalibDfkdeModel):
    """anomalib's `DfkdeModel` on shared features of any number of layers, with a map.

    anomalib puts the layers below each other, as if they were further images; here they are side by side.
    """

    classifier: KDEClassifier

    def __init__(self, *arguments: Any, **options: Any) -> None:
        parts = {"TimmFeatureExtractor": feature_extractor, "KDEClassifier": KDEClassifier}
        rebound(super().__init__, **parts)(*arguments, **options)

    def get_features(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean features of images, of shape (images, channels of all layers)."""
        return torch.cat([maps.mean((2, 3)) for maps in self.feature_extractor(batch).values()], dim=1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor | InferenceBatch:
        """Return features while training, else scores, and maps that have the score of an image everywhere."""
        found = super().forward(batch)
        if not isinstance(found, InferenceBatch):
            return found
        assert found.pred_score is not None
        return InferenceBatch(pred_score=found.pred_score, anomaly_map=everywhere(found.pred_score, batch))


class Dfkde(AnomalibDfkde):
    """anomalib's `Dfkde`: it says whether an image is anomalous, not where.

    Parameters
    ----------
    log_odds
        Whether scores are the logarithms of the odds in place of anomalib's probabilities, which are 1 for all images
        that are far from the good ones.
    others
        As in anomalib.
    """

    model: DfkdeModel

    def __init__(
        self,
        backbone: str = "resnet18",
        layers: Sequence[str] = ("layer4",),
        pre_trained: bool = True,
        n_pca_components: int = 16,
        feature_scaling_method: str | FeatureScalingMethod = FeatureScalingMethod.SCALE,
        max_training_points: int = 40000,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        log_odds: bool = True,
    ) -> None:
        rebound(super().__init__, DfkdeModel=DfkdeModel)(
            backbone,
            layers,
            pre_trained,
            n_pca_components,
            feature_scaling_method,
            max_training_points,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.model.classifier.log_odds = log_odds

"""DFM on shared features, which it leaves as they are, with a likelihood that can be fitted."""

import math

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import Dfm as AnomalibDfm
from anomalib.models.components import PCA
from anomalib.models.image.dfm.torch_model import DFMModel as AnomalibDFMModel
from anomalib.models.image.dfm.torch_model import SingleClassGaussian as AnomalibSingleClassGaussian
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.whole_images import everywhere


class PrincipalComponents(PCA):
    """anomalib's `PCA` with a part of the variance as level, which changes nothing that it is given.

    anomalib subtracts the mean in place: from features that others share, and from those of the training images, from
    which it then subtracts it a second time. It keeps the components before the one with which the level is reached,
    none if that is the first one; here that one is kept then. The level 1 is reached, whatever rounding leaves of it.
    """

    def fit(self, dataset: torch.Tensor) -> None:
        """Fit to features of shape (images, dimensions)."""
        self.mean = dataset.mean(dim=0)
        _, values, vectors = torch.linalg.svd((dataset - self.mean).double(), full_matrices=False)
        reached = (values.square().cumsum(0) / values.square().sum() >= self.n_components).nonzero().flatten()
        kept = max(1, int(reached[0]) if len(reached) else len(values))
        self.num_components = torch.tensor([kept], device=dataset.device)
        self.singular_vectors = vectors[:kept].T.float()
        self.singular_values = values[:kept].float()

    def transform(self, features: torch.Tensor) -> torch.Tensor:
        """Return the components of features, of shape (images, components)."""
        return (features - self.mean) @ self.singular_vectors


class SingleClassGaussian(AnomalibSingleClassGaussian):
    """anomalib's `SingleClassGaussian`, whose ``fit`` asks torch for a mean with an argument that this has not."""

    def fit(self, dataset: torch.Tensor) -> None:
        """Fit to features of shape (dimensions, images)."""
        self.mean_vec = dataset.mean(dim=1)
        centered = (dataset - self.mean_vec[:, None]) / math.sqrt(dataset.shape[1])
        self.u_mat, self.sigma_mat, _ = torch.linalg.svd(centered, full_matrices=False)


class DFMModel(AnomalibDFMModel):
    """anomalib's `DFMModel` on shared features, with a map in any case."""

    pca_model: PrincipalComponents

    def __init__(
        self, backbone: str, layer: str, pre_trained: bool, pooling_kernel_size: int, n_comps: float, score_type: str
    ) -> None:
        parts = {
            "TimmFeatureExtractor": feature_extractor,
            "PCA": PrincipalComponents,
            "SingleClassGaussian": SingleClassGaussian,
        }
        rebound(super().__init__, **parts)(backbone, layer, pre_trained, pooling_kernel_size, n_comps, score_type)

    def get_features(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Size]:
        """Return the pooled features of images, of shape (images, dimensions), and the shape of their maps."""
        features = self.feature_extractor(batch)[self.layer]
        if self.pooling_kernel_size > 1:
            features = F.avg_pool2d(features, self.pooling_kernel_size)
        return features.flatten(1), features.shape

    def score(  # type: ignore[override]  # anomalib returns such a pair too, and declares less
        self, features: torch.Tensor, feature_shapes: tuple
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return scores and, of reconstructions, maps, as anomalib does."""
        if self.score_type == "nll":
            return self.gaussian_model.score_samples(self.pca_model.transform(features)), None
        centered = features - self.pca_model.mean
        found = self.pca_model.inverse_transform(centered @ self.pca_model.singular_vectors)
        squared = (centered - found).square()
        return squared.sum(1), squared.reshape(feature_shapes).sum(1, keepdim=True)

    def forward(self, batch: torch.Tensor) -> torch.Tensor | InferenceBatch:
        """Return features while training, else scores and maps; a likelihood is that of the image everywhere."""
        found = super().forward(batch)
        if isinstance(found, InferenceBatch) and found.anomaly_map is None:
            assert found.pred_score is not None
            return InferenceBatch(pred_score=found.pred_score, anomaly_map=everywhere(found.pred_score, batch))
        return found


class Dfm(AnomalibDfm):
    """anomalib's `Dfm`.

    Ahuja, Ndiour, Kalyanpur, Tickoo, "Probabilistic Modeling of Deep Features for Out-of-Distribution and Adversarial
    Detection", 2019. The arguments are anomalib's.
    """

    model: DFMModel

    def __init__(
        self,
        backbone: str = "resnet50",
        layer: str = "layer3",
        pre_trained: bool = True,
        pooling_kernel_size: int = 4,
        pca_level: float = 0.97,
        score_type: str = "fre",
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        rebound(super().__init__, DFMModel=DFMModel)(
            backbone,
            layer,
            pre_trained,
            pooling_kernel_size,
            pca_level,
            score_type,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )

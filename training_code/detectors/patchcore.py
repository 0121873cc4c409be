"""PatchCore with a coreset that is selected in blocks."""

import torch
from anomalib.models import Patchcore as AnomalibPatchcore

from training_code.detectors.coreset import BlockedKCenterGreedy


class Patchcore(AnomalibPatchcore):
    """anomalib's `Patchcore` with its memory bank, selected in a fraction of the time and memory."""

    def fit(self) -> None:
        """Select the coreset of the collected embeddings and keep it as memory bank."""
        embeddings = torch.vstack(self.model.embedding_store)
        self.model.embedding_store.clear()
        self.model.memory_bank = BlockedKCenterGreedy(embeddings, self.coreset_sampling_ratio).sample_coreset()

"""Maps of detectors that judge an image as a whole: the rest of the program asks every detector for a map."""

import torch


def everywhere(scores: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return maps of shape (batch, 1, height, width) of ``images`` that have the score of an image at each pixel."""
    return scores.reshape(-1, 1, 1, 1).expand(-1, 1, *images.shape[-2:])

"""Detectors: anomalib's classes, their checked configurations, and how one is built."""

from training_code.detectors.registry import Autoencoder, Cflow, Draem, Dsr, Padim, Patchcore

__all__ = ["Autoencoder", "Cflow", "Draem", "Dsr", "Padim", "Patchcore"]

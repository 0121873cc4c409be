"""Detectors: anomalib's classes, their checked configurations, and how one is built."""

from training_code.detectors.registry import Cflow, Padim, Patchcore

__all__ = ["Cflow", "Padim", "Patchcore"]

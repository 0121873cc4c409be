"""Inference: the detector of a finished run on new images."""

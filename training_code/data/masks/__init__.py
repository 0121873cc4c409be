"""Masks: built from color segmentations, and transformed or painted together with their images."""

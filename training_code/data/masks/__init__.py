"""Masks: built from colour segmentations, and transformed or painted together with their images."""

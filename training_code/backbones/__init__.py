"""Backbones: which there are, their layers, and their weight files."""

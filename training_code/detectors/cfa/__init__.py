"""CFA: features that a layer draws towards centers of those of good images."""

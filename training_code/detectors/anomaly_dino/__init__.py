"""AnomalyDINO: distances of patches to those of good images, as a vision transformer sees them."""

"""PaDiM: Gaussians of features at each position."""

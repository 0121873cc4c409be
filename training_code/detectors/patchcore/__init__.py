"""PatchCore: the nearest neighbors in a memory of features."""

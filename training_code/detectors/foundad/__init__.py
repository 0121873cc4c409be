"""FoundAD: features of a transformer, projected back to what those of good images look like."""

"""DFM: the error of reconstructing deep features from their principal components."""

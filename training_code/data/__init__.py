"""Datasets: what a folder must look like, how it is read, and the embedded example."""

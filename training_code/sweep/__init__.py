"""Sweeps: every selected configuration of the notebooks, each run by papermill in a kernel of its own."""

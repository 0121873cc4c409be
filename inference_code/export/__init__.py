"""Detectors of runs as files, each compared with its run before it is put in its place."""

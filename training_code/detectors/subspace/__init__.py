"""Subspace: how far features lie from the principal subspace of good ones."""

"""Autoencoders: what cannot be reconstructed is a defect."""

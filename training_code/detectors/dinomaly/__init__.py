"""Dinomaly: a decoder that is kept from copying reconstructs the tokens of a transformer."""

"""INP-Former: the tokens of a transformer, reconstructed from what is normal in the image itself."""

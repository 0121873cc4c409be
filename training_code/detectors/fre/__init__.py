"""FRE: the error of a shallow autoencoder of deep features."""

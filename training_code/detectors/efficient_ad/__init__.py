"""EfficientAd: a student of a small teacher, and an autoencoder for what is wrong as a whole."""

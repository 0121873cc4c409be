"""GLASS: a discriminator of features of good images from those of painted anomalies and of noise."""

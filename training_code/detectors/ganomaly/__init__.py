"""GANomaly: images are reconstructed by a generative adversarial network, and their codes are compared."""

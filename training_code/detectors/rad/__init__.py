"""RAD: distances of patches to those at about the same place of the training images that are most alike."""

"""SuperADD: distances of patches at several depths of a vision transformer, of images in overlapping crops."""

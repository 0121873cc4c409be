"""Features of images under a backbone."""

"""CS-Flow: a normalizing flow over the features of an image at three sizes."""

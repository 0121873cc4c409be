"""PatchFlow: one normalizing flow over the features of several layers and sizes of an image."""

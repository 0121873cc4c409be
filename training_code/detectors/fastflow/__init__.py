"""FastFlow: a normalizing flow over each feature map."""

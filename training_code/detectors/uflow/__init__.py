"""U-Flow: a normalizing flow in the shape of a U over the maps of several layers."""

"""DFKDE: the density of deep features, estimated with kernels."""

"""MHPatchcore: a memory of whitened patches, composed of coresets of parts."""

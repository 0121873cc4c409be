"""STFPM: a student that imitates the features of a frozen teacher on good images alone."""

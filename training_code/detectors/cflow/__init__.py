"""CFlow: normalizing flows over features and positions."""

"""What everything stands on: paths, errors, files that are written whole, and the cache."""

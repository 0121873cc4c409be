"""A detector made of finished runs, whose scores and maps are put together."""

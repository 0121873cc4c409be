"""The HTTP service: `app` puts it together, `routes` are what clients see, `services` do the work."""

"""What the routes stand on; nothing here knows HTTP."""

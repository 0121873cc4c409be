"""What clients see: addresses, their parameters and answers."""

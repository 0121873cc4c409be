"""Training: anomalib's engine for one run, and what runs beside the epochs."""

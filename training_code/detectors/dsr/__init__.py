"""DSR: anomalies generated between the codes of two codebooks."""

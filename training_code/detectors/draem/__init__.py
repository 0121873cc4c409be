"""DRAEM: synthetic anomalies, reconstructed and segmented."""

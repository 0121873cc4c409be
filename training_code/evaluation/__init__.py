"""Evaluation from raw scores and raw anomaly maps: metrics, thresholds, times and memory."""

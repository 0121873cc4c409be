"""AnomalyVFM: a foundation model that was adapted to defects beforehand, on other images."""

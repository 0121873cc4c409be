"""Run records: what a run was, what it found and what it cost, written once and never half."""

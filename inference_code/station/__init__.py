"""The station at a line: photographs become parts, parts get verdicts, and these are kept."""

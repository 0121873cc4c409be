"""The comparison of runs as numbers: the table, configurations, statistics and effects."""

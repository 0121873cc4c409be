"""Plain anomalib and this project side by side on the same images: time, memory, and the difference of the numbers."""

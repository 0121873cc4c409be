"""Files whose networks compute in 8-bit integers: quantized, given thresholds of their own, and their loss stated."""

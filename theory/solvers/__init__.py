"""Self-consistent equations solved for many spectral parameters at once: vector and matrix Dyson equations."""

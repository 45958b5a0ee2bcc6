"""Gates and max-pools, by themselves or behind a convolution."""

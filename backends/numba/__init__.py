"""Compiled CPU kernels: the twins of the reference, and the backend that chooses between them."""

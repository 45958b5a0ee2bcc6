"""Stochastic Lanczos quadrature: products, recurrences, their orthogonality, and the densities that they give."""

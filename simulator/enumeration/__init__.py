"""Exact sums: over all gate configurations, and over all sign patterns of the weights."""

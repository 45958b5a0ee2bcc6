"""Enclosed maximum entropy: the law of new gates, which couplings have one, and the hierarchical form."""

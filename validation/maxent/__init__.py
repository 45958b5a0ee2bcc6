"""`python -m validation.maxent`: a network learned scale by scale, from couplings to weights."""

"""Ensembles of random networks: the theorems and bounds against exact sums and Monte Carlo."""

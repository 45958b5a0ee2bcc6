"""Basis circuits: paths, their values and magnitudes, samples of them, and the assemblies that they add up to."""

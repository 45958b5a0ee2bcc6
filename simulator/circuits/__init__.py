"""Basis circuits: paths, their values, samples of them, and the assemblies that they add up to."""

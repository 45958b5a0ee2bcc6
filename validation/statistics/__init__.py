"""How sure: means with standard errors, distances between spectra, tests of symmetry."""

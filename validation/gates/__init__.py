"""`python -m validation.gates`: the most probable gates, and their free energy, at temperatures through training."""

"""`python -m validation.phase`: the plasticity phase diagram."""

"""`python -m validation.novel`: a trained network is shown novel examples, again and again; what jumps, and decays."""

"""`python -m validation.ladder`: every rung of the predicted spectrum over widths, depths and training."""

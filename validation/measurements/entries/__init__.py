"""Statistics of Hessian entries (figs. 6 and 7 of the paper)."""

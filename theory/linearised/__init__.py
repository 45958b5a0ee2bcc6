"""Rungs R4 to R6: the linearised self-consistent equations of the Hessian, from signals and no weights."""

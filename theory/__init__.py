"""Predictions: spectral laws and Dyson equations from plain arrays.

The package never sees a network: every function takes arrays measured or postulated elsewhere and returns
what the theory makes of them. Rungs R0 to R2 of the ladder live in `laws` and `ladder`, their equations in
`dyson`, the iteration that solves them in `fixed_point`.
"""

from .dyson import ConvergenceError, DysonSolution, LowRankProfile, solve_vector_dyson
from .fixed_point import FixedPoint, solve_fixed_point
from .ladder import LadderLaw, block_law, separable_law
from .laws import semicircle

__all__ = [
    "ConvergenceError",
    "DysonSolution",
    "FixedPoint",
    "LadderLaw",
    "LowRankProfile",
    "block_law",
    "semicircle",
    "separable_law",
    "solve_fixed_point",
    "solve_vector_dyson",
]

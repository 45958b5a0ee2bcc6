"""Predictions: spectral laws and Dyson equations from plain arrays.

The package never sees a network: every function takes arrays measured or postulated elsewhere and returns
what the theory makes of them. Rungs R0 to R2 of the ladder live in `laws` and `ladder`, their equations in
`dyson`, the iteration that solves them in `fixed_point`. Matrix Dyson equations are in `matrix_dyson` (their
map in `siegel`), the covariance operators that they take in `covariance`, eigenvalues outside the support in
`outliers`, in the plainest case `spikes`; sums of matrices that know nothing of one another in `free_sum`. Rungs R4
to R6 are in `linearised` (the equations) and `linearised_law` (their solution), on the signals of `signals`; R3 and R4
start from the kernels of `population`; `correlation` has those of two inputs. `tails` counts the eigenvalues far out.

Theorems on symmetric weights are in `symmetry` (S1-S3) and `moments` (M1-M4), the brackets of (20), (21) in `brackets`.
"""

from theory.edges.free_sum import free_sum
from theory.edges.jamming import Inertia, inertia, stability_edge
from theory.edges.outliers import axis_resolvent, outliers, spectral_edge
from theory.edges.spikes import Spikes, isotropic_spikes
from theory.edges.tails import continued, expected_positions, mass_beyond
from theory.linearised.law import LinearisedLaw, linearised_law
from theory.rungs.arc_cosine import EntryCovariance, arc_cosine_law, entry_covariance
from theory.rungs.correlation import correlation_map, correlation_slope, stretch
from theory.rungs.population import (
    PopulationKernels,
    infinite_width_kernel,
    population_kernels,
    population_signals,
)
from theory.rungs.profiles import LadderLaw, block_law, separable_law
from theory.solvers.continuation import Continuation
from theory.solvers.covariance import (
    Covariance,
    DenseCovariance,
    FunctionCovariance,
    KrausCovariance,
    KroneckerCovariance,
    ProfileCovariance,
)
from theory.solvers.fixed_point import FixedPoint, solve_fixed_point
from theory.solvers.matrix_dyson import MatrixDysonSolution, dyson_moments, solve_matrix_dyson
from theory.solvers.vector_dyson import ConvergenceError, DysonSolution, LowRankProfile, solve_vector_dyson
from theory.theorems.brackets import mean_bracket, second_moment_bracket
from theory.theorems.moments import (
    mean_output,
    mean_output_bound,
    positive_part_bound,
    second_moment,
    shifted_second_moment_bound,
)
from theory.theorems.symmetry import (
    coupling_bound,
    gate_flip_probability,
    mean_flip_probability,
    mirror_distance,
    path_flip_bound,
)

from .semicircle import semicircle
from .signals import LayerSignals, NetworkSignals

__all__ = [
    "Continuation",
    "ConvergenceError",
    "Covariance",
    "DenseCovariance",
    "DysonSolution",
    "EntryCovariance",
    "FixedPoint",
    "FunctionCovariance",
    "Inertia",
    "KrausCovariance",
    "KroneckerCovariance",
    "LadderLaw",
    "LayerSignals",
    "LinearisedLaw",
    "LowRankProfile",
    "MatrixDysonSolution",
    "NetworkSignals",
    "PopulationKernels",
    "ProfileCovariance",
    "Spikes",
    "arc_cosine_law",
    "axis_resolvent",
    "block_law",
    "continued",
    "correlation_map",
    "correlation_slope",
    "coupling_bound",
    "dyson_moments",
    "entry_covariance",
    "expected_positions",
    "free_sum",
    "gate_flip_probability",
    "inertia",
    "infinite_width_kernel",
    "isotropic_spikes",
    "linearised_law",
    "mass_beyond",
    "mean_bracket",
    "mean_flip_probability",
    "mean_output",
    "mean_output_bound",
    "mirror_distance",
    "outliers",
    "path_flip_bound",
    "population_kernels",
    "population_signals",
    "positive_part_bound",
    "second_moment",
    "second_moment_bracket",
    "semicircle",
    "separable_law",
    "shifted_second_moment_bound",
    "solve_fixed_point",
    "solve_matrix_dyson",
    "solve_vector_dyson",
    "spectral_edge",
    "stability_edge",
    "stretch",
]

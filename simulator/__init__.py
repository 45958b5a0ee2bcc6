"""A ReLU network as a chain of weights and 0/1 gates: output, risk, gradient, Hessian, spectrum, training.

Every function takes ``backend``: a name, a `backends.Backend`, or None for the default.
"""

from .e_step import MarginalEstimate, monte_carlo_marginal
from .em import EMResult, FreeEnergy, expectation_maximization, free_energy
from .enumeration import (
    EnumerationError,
    GateLaw,
    circuit_moments,
    exact_marginal,
    exact_posterior,
    gate_law,
    log_marginals,
)
from .feasibility import InfeasibleError
from .hessian import HessianOperator
from .hierarchy import expand_multipliers, fit_hierarchy, hierarchical_logits, tensor_logits
from .lanczos import SpectralDensity, spectral_density
from .maxent import MaxEntropyLaw, solve_maxent
from .network import Conv, Dense, MaxPool, Network, mlp, sequential, vgg12
from .risk import Evaluation, evaluate, gradient, order_parameter, output, risk, signal_powers
from .training import Epoch, TrainingDivergedError, TrainingResult, train, train_epochs

__all__ = [
    "Conv",
    "Dense",
    "EMResult",
    "EnumerationError",
    "Epoch",
    "Evaluation",
    "FreeEnergy",
    "GateLaw",
    "HessianOperator",
    "InfeasibleError",
    "MarginalEstimate",
    "MaxEntropyLaw",
    "MaxPool",
    "Network",
    "SpectralDensity",
    "TrainingDivergedError",
    "TrainingResult",
    "circuit_moments",
    "evaluate",
    "exact_marginal",
    "exact_posterior",
    "expand_multipliers",
    "expectation_maximization",
    "fit_hierarchy",
    "free_energy",
    "gate_law",
    "gradient",
    "hierarchical_logits",
    "log_marginals",
    "mlp",
    "monte_carlo_marginal",
    "order_parameter",
    "output",
    "risk",
    "sequential",
    "signal_powers",
    "solve_maxent",
    "spectral_density",
    "tensor_logits",
    "train",
    "train_epochs",
    "vgg12",
]

"""A ReLU network as a chain of weights and 0/1 gates: output, risk, gradient, Hessian, spectrum, training.

Every function takes ``backend``: a name, a `backends.Backend`, or None for the default.
"""

from simulator.circuits.assemblies import (
    OrderParameterPairs,
    gradient_assemblies,
    hessian_assemblies,
    order_parameter_pairs,
    output_assembly,
)
from simulator.circuits.live import LivePaths, sample_live_paths
from simulator.circuits.magnitudes import path_magnitudes
from simulator.circuits.paths import count_paths, enumerate_paths, path_weights
from simulator.circuits.sampling import (
    AssemblyEstimate,
    SampledCircuits,
    estimate_assemblies,
    sample_circuits,
    sample_paths,
)
from simulator.circuits.values import Circuits, circuit_values, enumerate_circuits
from simulator.ensembles.density import EnsembleDensity
from simulator.ensembles.ensemble import Ensemble
from simulator.ensembles.fresh import FreshNetworks, fresh_weights
from simulator.ensembles.run import EnsembleLanczos
from simulator.enumeration.gates import (
    EnumerationError,
    GateLaw,
    circuit_moments,
    exact_marginal,
    exact_posterior,
    gate_law,
    log_marginals,
)
from simulator.enumeration.signs import CircuitLaw, CouplingLaw, SignEnsemble, enumerate_signs
from simulator.enumeration.thermal import ExactThermodynamics, exact_thermodynamics
from simulator.hessian.block import HessianBlock
from simulator.hessian.entries import HessianEntries, entry_values, hessian_entries
from simulator.hessian.entry_pairs import EntryPairs, sample_pairs
from simulator.hessian.gram import (
    GramSpectrum,
    fisher_spectrum,
    gauss_newton_spectrum,
    gram_spectrum,
    kernel_spectrum,
)
from simulator.hessian.operator import HessianOperator
from simulator.lanczos.density import SpectralDensity
from simulator.lanczos.iteration import Lanczos, spectral_density
from simulator.maxent.feasibility import InfeasibleError
from simulator.maxent.hierarchy import expand_multipliers, fit_hierarchy, hierarchical_logits, tensor_logits
from simulator.maxent.law import MaxEntropyLaw, solve_maxent
from simulator.maxent.scales import LearnedScale, learn_scales
from simulator.network.layers import AvgPool, Conv, Dense, MaxPool
from simulator.network.network import Network, mlp, sequential, vgg12
from simulator.network.text import network_from_text
from simulator.passes.correlations import Stretch, input_stretch, signal_correlations
from simulator.passes.risk import (
    Evaluation,
    evaluate,
    gradient,
    order_parameter,
    output,
    output_derivative,
    output_gradient,
    risk,
    signal_powers,
)
from simulator.passes.tangent_kernel import tangent_kernel
from simulator.stationary.kinks import KinkDistances, NearbyGradients, kink_distances, nearby_gradients
from simulator.stationary.search import StationarySearch, find_stationary
from simulator.stochastic.average import Average
from simulator.stochastic.averages import HessianScale, StochasticEvaluation, evaluate_stochastic, hessian_scale
from simulator.stochastic.marginal import MarginalEstimate, monte_carlo_marginal
from simulator.stochastic.network import StochasticNetwork
from simulator.stochastic.units import UnitWeights, unit_weights
from simulator.thermal.relu import ReluGates, relu_gates
from simulator.thermal.sampling import SampledThermodynamics, sample_thermodynamics
from simulator.thermal.search import GateSearch, search_gates
from simulator.training.descent import Epoch, TrainingDivergedError, TrainingResult, train, train_epochs
from simulator.training.em import EMResult, FreeEnergy, expectation_maximization, free_energy

__all__ = [
    "AssemblyEstimate",
    "Average",
    "AvgPool",
    "CircuitLaw",
    "Circuits",
    "Conv",
    "CouplingLaw",
    "Dense",
    "EMResult",
    "Ensemble",
    "EnsembleDensity",
    "EnsembleLanczos",
    "EntryPairs",
    "EnumerationError",
    "Epoch",
    "Evaluation",
    "ExactThermodynamics",
    "FreeEnergy",
    "FreshNetworks",
    "GateLaw",
    "GateSearch",
    "GramSpectrum",
    "HessianBlock",
    "HessianEntries",
    "HessianOperator",
    "HessianScale",
    "InfeasibleError",
    "KinkDistances",
    "Lanczos",
    "LearnedScale",
    "LivePaths",
    "MarginalEstimate",
    "MaxEntropyLaw",
    "MaxPool",
    "NearbyGradients",
    "Network",
    "OrderParameterPairs",
    "ReluGates",
    "SampledCircuits",
    "SampledThermodynamics",
    "SignEnsemble",
    "SpectralDensity",
    "StationarySearch",
    "StochasticEvaluation",
    "StochasticNetwork",
    "Stretch",
    "TrainingDivergedError",
    "TrainingResult",
    "UnitWeights",
    "circuit_moments",
    "circuit_values",
    "count_paths",
    "entry_values",
    "enumerate_circuits",
    "enumerate_paths",
    "enumerate_signs",
    "estimate_assemblies",
    "evaluate",
    "evaluate_stochastic",
    "exact_marginal",
    "exact_posterior",
    "exact_thermodynamics",
    "expand_multipliers",
    "expectation_maximization",
    "find_stationary",
    "fisher_spectrum",
    "fit_hierarchy",
    "free_energy",
    "fresh_weights",
    "gate_law",
    "gauss_newton_spectrum",
    "gradient",
    "gradient_assemblies",
    "gram_spectrum",
    "hessian_assemblies",
    "hessian_entries",
    "hessian_scale",
    "hierarchical_logits",
    "input_stretch",
    "kernel_spectrum",
    "kink_distances",
    "learn_scales",
    "log_marginals",
    "mlp",
    "monte_carlo_marginal",
    "nearby_gradients",
    "network_from_text",
    "order_parameter",
    "order_parameter_pairs",
    "output",
    "output_assembly",
    "output_derivative",
    "output_gradient",
    "path_magnitudes",
    "path_weights",
    "relu_gates",
    "risk",
    "sample_circuits",
    "sample_live_paths",
    "sample_pairs",
    "sample_paths",
    "sample_thermodynamics",
    "search_gates",
    "sequential",
    "signal_correlations",
    "signal_powers",
    "solve_maxent",
    "spectral_density",
    "tangent_kernel",
    "tensor_logits",
    "train",
    "train_epochs",
    "unit_weights",
    "vgg12",
]

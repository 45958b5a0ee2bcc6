"""A ReLU network as a chain of weights and 0/1 gates: output, risk, gradient, Hessian, spectrum, training.

Every function takes ``backend``: a name, a `backends.Backend`, or None for the default.
"""

from .hessian import HessianOperator
from .lanczos import SpectralDensity, spectral_density
from .network import Conv, Dense, MaxPool, Network, mlp, sequential, vgg12
from .risk import Evaluation, evaluate, gradient, order_parameter, output, risk, signal_powers
from .training import Epoch, TrainingDivergedError, TrainingResult, train, train_epochs

__all__ = [
    "Conv",
    "Dense",
    "Epoch",
    "Evaluation",
    "HessianOperator",
    "MaxPool",
    "Network",
    "SpectralDensity",
    "TrainingDivergedError",
    "TrainingResult",
    "evaluate",
    "gradient",
    "mlp",
    "order_parameter",
    "output",
    "risk",
    "sequential",
    "signal_powers",
    "spectral_density",
    "train",
    "train_epochs",
    "vgg12",
]

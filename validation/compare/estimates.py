"""What the steps of a run take, said before they begin: bytes of their arrays from shapes alone, seconds from a trial.

Bytes are those of the largest moment of a step, beyond what the process holds already; `benchmarks/memory.py` holds
them against measured peaks. `LIBRARIES` stands for modules and buffers that first use brings in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from backends import Backend
from simulator import HessianOperator, Lanczos, Network
from simulator.passes.tangent_kernel import SHARE, chunk_size, multiplications
from theory.linearised.law import WORKING_SET
from validation.measurements.facts import FACT_EXAMPLES, UNITS
from validation.measurements.moments import BLOCK, default_moment_probes

LIBRARIES = 2e7
MULTIPLICATIONS = 5e9  # that two cores make in a second


def pass_bytes(network: Network, ops: Backend, examples: int, probes: int = 1) -> float:
    """A pass of `probes` vectors over so many examples, forward and back: signals, errors, a layer in the making."""
    item = np.dtype(ops.dtype).itemsize
    sites = [math.prod(layer.gate_shape) for layer in network.layers]
    inputs = [math.prod(layer.input_shape) for layer in network.layers]
    return float(examples * probes * item * (sum(sites) + sum(inputs) + _making(network, ops)))


def _making(network: Network, ops: Backend) -> int:
    """Numbers per example that the largest layer takes while it is made."""
    images = any(layer.convolutional for layer in network.layers)
    return max(math.prod(layer.gate_shape) for layer in network.layers) * (ops.convolution_outputs if images else 1)


def weight_bytes(network: Network) -> float:
    """The first weights in double precision, their velocity, and the draw of the largest layer."""
    return LIBRARIES + 8.0 * (2.0 * network.n_weights + max(math.prod(shape) for shape in network.weight_shapes))


def training_bytes(network: Network, ops: Backend, batch: int) -> float:
    """An epoch: weights, velocity and gradient, old and new, and the signals of a batch."""
    return LIBRARIES + _weights(network, ops, 5.0) + pass_bytes(network, ops, batch)


def _weights(network: Network, ops: Backend, copies: float) -> float:
    return copies * network.n_weights * np.dtype(ops.dtype).itemsize


def state_bytes(network: Network, ops: Backend, examples: int) -> float:
    """Risk and gradient on all examples; their symmetry, on sorted copies in float64; the exact facts."""
    evaluated = pass_bytes(network, ops, min(examples, ops.batch_size)) + _weights(network, ops, 3.0)
    vectors = UNITS if network.depth == 2 else network.depth
    facts = 64.0 * network.n_weights * vectors + pass_bytes(network, ops, FACT_EXAMPLES, vectors)
    return LIBRARIES + _weights(network, ops, 1.0) + max(evaluated, 64.0 * network.n_weights, facts)


def product_bytes(operator: HessianOperator, probes: int) -> float:
    """A product of the Hessian with so many vectors at once, and the frozen signals that it rests on."""
    network, ops = operator.network, operator.backend
    batch = min(ops.batch_size, operator.active.size)
    kept = operator.signal_bytes <= ops.kept_bytes
    signals = float(operator.signal_bytes) if kept else pass_bytes(network, ops, batch)
    tangents = operator.tangent_bytes + batch * np.dtype(ops.dtype).itemsize * _making(network, ops)
    return signals + probes * tangents + _weights(network, ops, 3.0 * probes)


def spectrum_bytes(operator: HessianOperator, run: Lanczos) -> float:
    """Lanczos bases, and the products they are made of."""
    return float(LIBRARIES + run.nbytes + product_bytes(operator, run.group))


def moments_bytes(operator: HessianOperator) -> float:
    """Second moments of every row (N, L), the products behind them, and the laws of R1 and R2."""
    network = operator.network
    n, drawn = network.n_weights, default_moment_probes(network.n_weights) * max(network.layer_sizes)
    return LIBRARIES + 8.0 * (n * network.depth + 2.0 * drawn) + product_bytes(operator, BLOCK)


def forecast_bytes(network: Network, ops: Backend, examples: int, tested: int, networks: int) -> float:
    """Tangent kernels of fresh networks in float64, one more while its blocks are made, and signals and Jacobians."""
    kernels = 8.0 * (networks + 1) * examples * (examples + tested)
    return LIBRARIES + kernels + 2.0 * ops.kept_bytes / SHARE + pass_bytes(network, ops, min(examples, ops.batch_size))


def kernel_seconds(network: Network, ops: Backend, examples: int, tested: int) -> float:
    """Tangent kernels of one network on so many examples, and between the examples of a test and those.

    From the number of multiplications alone, so that a run on a busy machine leaves out what it would on a free one.
    """
    pair, each = multiplications(network)
    chunks = -(-examples // chunk_size(network, ops))
    pairs = examples * (examples * (chunks + 1) / (2 * chunks) + tested)
    passes = examples * (chunks + 1) / 2 + examples + chunks * tested
    return (pair * pairs + each * passes) / MULTIPLICATIONS


def law_bytes(per_point: float, n_points: int) -> float:
    """Linearised equations at n_points, in groups that fit the theory's working set."""
    return LIBRARIES + per_point * max(1, min(n_points, WORKING_SET // max(per_point, 1.0)))


def entries_bytes(network: Network, ops: Backend, examples: int, n: int, resamples: int) -> float:
    """Sampled entries at every example with powers and permutations of them, pairs of entries, and resamples."""
    values, pairs = 8.0 * examples * n, 8.0 * n**2
    resampled = 16.0 * examples * resamples
    return LIBRARIES + 7.0 * values + 40.0 * pairs + resampled + pass_bytes(network, ops, ops.batch_size)


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds that a call takes, the second time: the first may compile."""
    call()
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun

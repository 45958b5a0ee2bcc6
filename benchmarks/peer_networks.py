"""The same networks, risk and Hessian products in PyTorch and JAX, for `benchmarks/peers.py`.

Weights come from `Network.init` and data are the same arrays, so that results can be compared. Every library is used
as its documentation shows: PyTorch in its default layout and in channels-last, PyHessian on one batch (whose gradient
graph it keeps), pytorch-hessian-eigenthings on one batch and curvlinops on batches, JAX compiled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from simulator import Network

Array = np.ndarray[Any, Any]
Product = Callable[[Array], Array]  # (N,) or (N, k) -> the same


def torch_network(network: Network, weights: list[Array], channels_last: bool = False) -> Any:
    """A torch.nn.Sequential of the network's layers, with its weights; output (m,)."""
    import torch
    from torch import nn

    parts: list[Any] = []
    for index, (layer, w) in enumerate(zip(network.layers, weights, strict=True)):
        if layer.convolutional:
            module: Any = nn.Conv2d(w.shape[2], w.shape[3], w.shape[0], padding=w.shape[0] // 2, bias=False)
            value = np.transpose(w, (3, 2, 0, 1))
        else:
            if len(layer.input_shape) == 3:
                parts.append(nn.Flatten())
            module, value = nn.Linear(w.shape[0], w.shape[1], bias=False), _flattened_channels_first(layer, w).T
        module.weight.data = torch.tensor(np.ascontiguousarray(value))
        parts.append(module)
        if index < network.depth - 1:
            parts += [nn.ReLU(), *(nn.MaxPool2d(pool.size) for pool in layer.pools)]
    model = nn.Sequential(*parts, nn.Flatten(0))
    return model.to(memory_format=torch.channels_last) if channels_last else model


def _flattened_channels_first(layer: Any, w: Array) -> Array:
    """Rows of a dense layer on a flattened map in PyTorch's order, channels before sites."""
    if len(layer.input_shape) == 1:
        return w
    height, width, channels = layer.input_shape
    return w.reshape(height * width, channels, -1).transpose(1, 0, 2).reshape(w.shape)


def torch_data(network: Network, x: Array, y: Array, channels_last: bool = False) -> tuple[Any, Any]:
    import torch

    values = torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x)
    if channels_last and x.ndim == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    return values, torch.tensor(y)


def torch_order(network: Network, v: Array, back: bool = False) -> Array:
    """Weight-space columns (N, k) in PyTorch's order of each layer's weights, or back from it."""
    parts = []
    for layer, part in zip(network.layers, np.split(v, np.cumsum(network.layer_sizes)[:-1]), strict=True):
        place = np.arange(len(part)).reshape(layer.weight_shape)
        turned = place.transpose(3, 2, 0, 1) if layer.convolutional else _flattened_channels_first(layer, place).T
        order = turned.reshape(-1)
        parts.append(part[np.argsort(order)] if back else part[order])
    return np.concatenate(parts)


def hinge(t: Any, y: Any) -> Any:
    """(1/m) Σ max(0, 1 - y T), for torch."""
    import torch

    return torch.clamp(1.0 - y * t, min=0.0).mean()


def torch_epoch(network: Network, weights: list[Array], x: Array, y: Array, channels_last: bool) -> Callable[[], Any]:
    """One epoch of SGD with momentum in batches of 128."""
    import torch

    model = torch_network(network, weights, channels_last)
    data, labels = torch_data(network, x, y, channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def epoch() -> None:
        for part in torch.randperm(len(data)).split(128):
            optimizer.zero_grad()
            hinge(model(data[part]), labels[part]).backward()
            optimizer.step()

    return epoch


def _in_torch_order(network: Network, several: Product) -> Product:
    """A product of columns (N, k) in PyTorch's order of weights, for vectors or columns in ours."""

    def product(v: Array) -> Array:
        return torch_order(network, several(torch_order(network, v.reshape(len(v), -1))), back=True).reshape(v.shape)

    return product


def _by_columns(one: Product) -> Product:
    return lambda v: np.stack([one(column) for column in v.T], axis=1)


def pyhessian_product(network: Network, weights: list[Array], x: Array, y: Array) -> Product:
    """PyHessian on one batch: the gradient's graph is made once and kept."""
    operator = _pyhessian(network, weights, x, y)
    from pyhessian.utils import hessian_vector_product

    def one(v: Array) -> Array:
        import torch

        parts = np.split(v, np.cumsum(network.layer_sizes)[:-1])
        directions = [torch.tensor(a).reshape(p.shape) for a, p in zip(parts, operator.params, strict=True)]
        product = hessian_vector_product(operator.gradsH, operator.params, directions)
        return np.concatenate([p.reshape(-1).numpy() for p in product])

    return _in_torch_order(network, _by_columns(one))


def _pyhessian(network: Network, weights: list[Array], x: Array, y: Array) -> Any:
    from pyhessian import hessian

    model = torch_network(network, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a graph that refers to itself: it is kept on purpose
        return hessian(model, hinge, data=torch_data(network, x, y), cuda=False)


def curvlinops_product(network: Network, weights: list[Array], x: Array, y: Array) -> Product:
    """curvlinops on batches of 250 examples."""
    from curvlinops import HessianLinearOperator

    model = torch_network(network, weights)
    data, labels = torch_data(network, x, y)
    batches = list(zip(data.split(250), labels.split(250), strict=True))
    operator = HessianLinearOperator(
        model, _Hinge(), [p for p in model.parameters() if p.requires_grad], batches, check_deterministic=False
    )

    def several(v: Array) -> Array:
        import torch

        found: Array = (operator @ torch.tensor(v)).detach().numpy()
        return found

    return _in_torch_order(network, several)


def eigenthings_product(network: Network, weights: list[Array], x: Array, y: Array) -> Product:
    """pytorch-hessian-eigenthings on one batch: the gradient's graph is made anew for every product."""
    operator = _eigenthings(network, weights, x, y)

    def one(v: Array) -> Array:
        import torch

        found: Array = operator.matvec(torch.tensor(v)).numpy()
        return found

    return _in_torch_order(network, _by_columns(one))


def _eigenthings(network: Network, weights: list[Array], x: Array, y: Array) -> Any:
    from hessian_eigenthings import HessianOperator, supervised_loss

    return HessianOperator(torch_network(network, weights), [torch_data(network, x, y)], supervised_loss(hinge))


def _Hinge() -> Any:
    """The risk as a module with a reduction, as curvlinops asks for."""
    from torch import nn

    class Hinge(nn.Module):
        reduction = "mean"

        def forward(self, t: Any, y: Any) -> Any:
            return hinge(t, y)

    return Hinge()


def jax_risk(network: Network) -> Callable[..., Any]:
    """(weights, x, y) -> risk in JAX, channels last."""
    import jax
    import jax.numpy as jnp

    def risk(weights: Any, x: Any, y: Any) -> Any:
        for index, (layer, w) in enumerate(zip(network.layers, weights, strict=True)):
            if layer.convolutional:
                x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            else:
                x = x.reshape(len(x), -1) @ w
            if index < network.depth - 1:
                x = jax.nn.relu(x)
                for s in (pool.size for pool in layer.pools):
                    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, s, s, 1), (1, s, s, 1), "VALID")
        return jnp.maximum(0.0, 1.0 - y * x[:, 0]).mean()

    return risk


def jax_epoch(network: Network, weights: list[Array], x: Array, y: Array) -> Callable[[], Any]:
    """One epoch of compiled SGD steps with momentum in batches of 128."""
    import jax

    gradient = jax.grad(jax_risk(network))

    @jax.jit
    def step(w: Any, v: Any, a: Any, b: Any) -> Any:
        v = [0.9 * old + g for old, g in zip(v, gradient(w, a, b), strict=True)]
        return [old - 1e-3 * change for old, change in zip(w, v, strict=True)], v

    def epoch() -> None:
        w, v = [jax.numpy.asarray(a) for a in weights], [jax.numpy.zeros_like(a) for a in weights]
        order = np.random.default_rng(0).permutation(len(x))
        for start in range(0, len(x), 128):
            part = order[start : start + 128]
            w, v = step(w, v, x[part], y[part])
        jax.block_until_ready(w)

    return epoch


def jax_product(network: Network, weights: list[Array], x: Array, y: Array) -> Product:
    """jvp of grad, compiled; several vectors one by one."""
    import jax
    import jax.numpy as jnp

    gradient, data = jax.grad(jax_risk(network)), (jnp.asarray(x), jnp.asarray(y))
    device = [jnp.asarray(w) for w in weights]

    def one(w: Any, v: Any, x: Any, y: Any) -> Any:  # data as arguments: closed over, they are folded for minutes
        return jax.jvp(lambda u: gradient(u, x, y), (w,), (v,))[1]

    compiled = jax.jit(one)

    def product(v: Array) -> Array:
        if v.ndim == 2:
            return _by_columns(product)(v)
        parts = np.split(v, np.cumsum(network.layer_sizes)[:-1])
        made = compiled(device, [a.reshape(s) for a, s in zip(parts, network.weight_shapes, strict=True)], *data)
        return np.concatenate([np.asarray(a).reshape(-1) for a in made])

    return product


def pyhessian_spectrum(network: Network, weights: list[Array], x: Array, y: Array, steps: int, probes: int) -> Any:
    """Nodes and weights of PyHessian's Lanczos quadrature, which calls a function that PyTorch has removed."""
    import torch

    def eig(matrix: Any, eigenvectors: bool) -> Any:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    torch.eig = eig
    return _pyhessian(network, weights, x, y).density(iter=steps, n_v=probes)


def eigenthings_spectrum(network: Network, weights: list[Array], x: Array, y: Array, steps: int, probes: int) -> Any:
    """Nodes and weights of pytorch-hessian-eigenthings' Lanczos quadrature."""
    from hessian_eigenthings import spectral_density

    made = spectral_density(_eigenthings(network, weights, x, y), num_runs=probes, lanczos_steps=steps, seed=0)
    return made.raw_eigenvalues, made.raw_weights


def matfree_spectrum(network: Network, weights: list[Array], x: Array, y: Array, steps: int, probes: int) -> Any:
    """Nodes and weights from matfree's Lanczos decomposition with full re-orthogonalisation."""
    import jax
    import jax.numpy as jnp
    from matfree import decomp

    gradient, data = jax.grad(jax_risk(network)), (jnp.asarray(x), jnp.asarray(y))
    device = [jnp.asarray(w) for w in weights]
    flat, unflatten = jax.flatten_util.ravel_pytree(device)

    def product(v: Any, w: Any, x: Any, y: Any) -> Any:
        made = jax.jvp(lambda u: gradient(u, x, y), (w,), (unflatten(v),))[1]
        return jax.flatten_util.ravel_pytree(made)[0]

    tridiagonal = jax.jit(lambda v, *rest: decomp.tridiag_sym(steps, reortho="full")(product, v, *rest).J_small)
    found = []
    for probe in range(probes):
        v = jax.random.rademacher(jax.random.PRNGKey(probe), flat.shape, dtype=flat.dtype)
        nodes, vectors = np.linalg.eigh(np.asarray(tridiagonal(v / jnp.linalg.norm(v), device, *data)))
        found.append((nodes, vectors[0] ** 2))
    return found

"""PyTorch eager and PyHessian on a device, for `benchmarks/gpu.py`: the networks of `peer_networks` moved there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from peer_networks import hinge, torch_data, torch_network, torch_order

from simulator import Network

Array = np.ndarray[Any, Any]


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _allow_tf32() -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # shapes are constant: let cuDNN pick the quickest algorithm


def epoch(
    network: Network, weights: list[Array], x: Array, y: Array, batch: int, channels_last: bool, device: str
) -> Callable[[], Any]:
    """An epoch of SGD with momentum on data that are on the device."""
    import torch

    _allow_tf32()
    model = torch_network(network, weights, channels_last).to(device)
    data, labels = (a.to(device) for a in torch_data(network, x, y, channels_last))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        for part in torch.randperm(len(data), device=device).split(batch):
            optimizer.zero_grad()
            hinge(model(data[part]), labels[part]).backward()
            optimizer.step()
        _wait(device)

    return run


def _pyhessian(network: Network, weights: list[Array], x: Array, y: Array, device: str) -> Any:
    import torch
    from pyhessian import hessian

    _allow_tf32()
    torch.manual_seed(0)
    model = torch_network(network, weights, channels_last=False).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a graph that refers to itself: it is kept on purpose
        data = torch_data(network, x, y)
        return hessian(model, hinge, data=tuple(a.to(device) for a in data), cuda=device == "cuda")


def hessian_product(
    network: Network, weights: list[Array], x: Array, y: Array, v: Array, device: str
) -> tuple[Callable[[], Any], Callable[[], Array]]:
    """(the product with v, the same as a host array in our order of weights) on one batch, whose graph is kept."""
    import torch
    from pyhessian.utils import hessian_vector_product

    operator = _pyhessian(network, weights, x, y, device)
    parts = np.split(torch_order(network, v[:, None])[:, 0], np.cumsum(network.layer_sizes)[:-1])
    directions = [torch.tensor(a, device=device).reshape(p.shape) for a, p in zip(parts, operator.params, strict=True)]

    def product() -> Any:
        made = hessian_vector_product(operator.gradsH, operator.params, directions)
        _wait(device)
        return made

    def read() -> Array:
        flat = np.concatenate([p.reshape(-1).cpu().numpy() for p in product()])
        return torch_order(network, flat[:, None], True)[:, 0]

    return product, read


def spectrum(
    network: Network, weights: list[Array], x: Array, y: Array, steps: int, probes: int, device: str
) -> Callable[[], Any]:
    """PyHessian's Lanczos quadrature, graph included; it calls a function that PyTorch has removed."""
    import torch

    def eig(matrix: Any, eigenvectors: bool) -> Any:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    torch.eig = eig

    def run() -> Any:
        made = _pyhessian(network, weights, x, y, device).density(iter=steps, n_v=probes)
        _wait(device)
        return made

    return run

"""`from_torch`: the network and the weights of a live module of PyTorch."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from simulator import Network, output
from validation.errors import WeightsError

from .entries import Array
from .layout import Layout
from .live import is_module, tensor_array
from .steps import Builder, Step, module_step, refuse
from .trace import traced_steps

Shape = tuple[int, ...]
AGREEMENT = {"torch.float64": 1e-10, "torch.float32": 1e-4}  # of T, relative to T with all signs made positive


def from_torch(module: Any, input_shape: Sequence[int] | None = None) -> tuple[Network, list[Array]]:
    """(network, weights) of a PyTorch module that computes T(x) = x^T [Π_{l<L} W_l D_l] W_L (10); it is not changed.

    `module` is an `nn.Sequential`, nested as it may be, or a module whose forward torch.fx can follow from one layer
    to the next. Layers: Conv2d (odd square kernel, stride 1, zero padding that keeps the size, no bias), Linear
    (bias=False), ReLU behind every one but the last, MaxPool2d(k), AvgPool2d(k), Flatten, Identity; the last is a
    Linear of one output. `input_shape` is that of one example, (height, width, channels), which convolutions need;
    PyTorch's (channels, height, width) is taken where the channels of the first convolution tell it apart. A module
    that flattens at once takes vectors, in its own order of pixels, unless it is given.

    Images of the network are channels last, x.transpose(0, 2, 3, 1) of PyTorch's; the rows of the first Linear behind
    a Flatten are put in that order. Weights are copies, float32 or float64 as in the module (float16 and bfloat16 as
    float32). At the end both compute T at two inputs, and must agree to rounding.

    Raises `WeightsError` for everything else, such as biases, BatchNorm, Dropout, several outputs and skip connections:
    it names the module, the reason in theory, and what to do. PyTorch must be importable, which a module is proof of.
    """
    if not is_module(module):
        raise WeightsError(
            f"an object of type {type(module).__name__} was given, expected a torch.nn.Module: for a "
            "state dictionary or a file use load_weights(..., network)"
        )
    _check_hooks(module)
    steps = list(_steps("", module))
    builder = Builder(_input_shape(steps, input_shape))
    for step in steps:
        builder.take(step)
    network = builder.network()
    layout = Layout(network, "torch", None, None)
    stored = [tensor_array(name, tensor) for name, tensor in builder.weights]
    for (name, _), numbers in zip(builder.weights, stored, strict=True):
        if not np.all(np.isfinite(numbers)):
            raise refuse(name, "has NaN or infinite weights", "give finite numbers")
    weights = [layout.to_network(layer, numbers) for layer, numbers in enumerate(stored)]
    _check_agreement(module, network, weights)
    return network, weights


def _check_hooks(module: Any) -> None:
    for name, part in module.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise refuse(
                name, f"({type(part).__name__}) has a forward hook, which may compute anything",
                "remove its hooks (a weight norm: torch.nn.utils.remove_weight_norm)",
            )  # fmt: skip


def _steps(name: str, module: Any) -> Iterator[Step]:
    """The steps of a module, those of a Sequential read from it, others traced."""
    if _is_sequential(module):
        for key, part in module._modules.items():
            yield from _steps(f"{name}.{key}" if name else key, part)
    elif type(module).__module__.split(".")[0] == "torch":
        step = module_step(name, module)
        if step is not None:
            yield step
    else:
        yield from traced_steps(name, module)


def _is_sequential(module: Any) -> bool:
    """Whether the children run in order and nothing else does: a Sequential, or a subclass without a forward."""
    kind: Any = type(module)
    bases: list[Any] = [b for b in kind.__mro__ if b.__name__ == "Sequential" and b.__module__.split(".")[0] == "torch"]
    return bool(bases) and kind.forward is bases[0].forward and "forward" not in vars(module)


def _input_shape(steps: Sequence[Step], given: Sequence[int] | None) -> Shape:
    """The shape of one example, channels last."""
    first = next((step for step in steps if step.kind in ("conv", "dense")), None)
    if first is None:
        return (1,)  # refused by the builder
    if given is None:
        if first.kind == "dense":
            return (first.taken,)
        raise WeightsError(
            f"the size of the images is not in the module: give input_shape=(height, width, {first.taken})"
        )
    shape = tuple(given) if isinstance(given, Sequence) else (given,)
    if not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape) or len(shape) not in (1, 3):
        raise WeightsError(f"input_shape {given!r}: expected (height, width, channels) or (n,)")
    if first.kind == "conv" and len(shape) == 3 and shape[2] != first.taken == shape[0]:
        shape = (shape[1], shape[2], shape[0])
    return tuple(map(int, shape))


def _check_agreement(module: Any, network: Network, weights: Sequence[Array]) -> None:
    """Raise `WeightsError` unless module and network have the same output at two inputs, to rounding."""
    parameter = next(iter(module.parameters()))
    tolerance = AGREEMENT.get(str(parameter.dtype))
    if tolerance is None:
        return
    x = np.cos(1.0 + np.arange(2 * math.prod(network.input_shape), dtype=np.float64) ** 1.5)
    x = x.reshape(2, *network.input_shape)
    theirs = _module_output(module, np.moveaxis(x, -1, 1) if x.ndim == 4 else x, parameter)
    ours = output(network, weights, x, backend="numpy")
    scale = np.linalg.norm(output(network, [np.abs(w) for w in weights], np.abs(x), backend="numpy"))
    if theirs.shape != ours.shape or not np.linalg.norm(ours - theirs) <= tolerance * scale:
        raise WeightsError(
            f"the module computes {theirs.tolist()} where the network made from it computes {ours.tolist()}: "
            "its forward does more than its layers, write them as one nn.Sequential"
        )


def _module_output(module: Any, x: Array, parameter: Any) -> Array:
    torch = importlib.import_module("torch")
    try:
        with torch.no_grad():
            given = torch.tensor(x.copy(order="C"), dtype=parameter.dtype, device=parameter.device)
            return tensor_array("output", module(given)).reshape(-1)
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"the module fails on inputs of shape {x.shape} ({reason}): give another input_shape, or repair it"
        ) from None

"""What a module of PyTorch does to its input, one step behind the other, and the network that does the same.

Modules are known by their class names and attributes: PyTorch itself is never imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator import AvgPool, Conv, Dense, MaxPool, Network, sequential
from validation.errors import WeightsError

from .live import tensor_array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One layer of a module: its dotted name, its kind, its sizes, and the tensor of its weights.

    ``kind``: "conv", "dense", "relu", "max", "avg", "flatten", "squeeze". ``taken``: channels or features that it
    takes; ``given``: those that it gives. ``size``: the kernel of a convolution, the side of a pool's window.
    """

    name: str
    kind: str
    taken: int = 0
    given: int = 0
    size: int = 0
    weight: Any = None


def refuse(name: str, reason: str, remedy: str) -> WeightsError:
    """Two sentences: the module's dotted name and the reason in theory, what to do."""
    who = f"module {name!r}" if name else "the module"
    return WeightsError(f"{who} {reason}. {remedy[0].upper()}{remedy[1:]}.")


def torch_class(module: Any) -> str:
    """The name of a module's class where it is PyTorch's own, exactly; "" elsewhere."""
    kind = type(module)
    return kind.__name__ if kind.__module__.split(".")[0] == "torch" and "forward" not in vars(module) else ""


def module_step(name: str, module: Any) -> Step | None:
    """The step of a single layer; None for the identity. Raises `WeightsError` for what networks here do not have."""
    kind = torch_class(module)
    if kind in READERS:
        return READERS[kind](name, module)
    for words, reason, remedy in REFUSED:
        if any(word in kind for word in words):
            raise refuse(name, f"({kind}) {reason}", remedy)
    raise refuse(name, f"({type(module).__name__}) is no layer of the model (10)", ONLY)


ONLY = "use Conv2d, ReLU, MaxPool2d, AvgPool2d, Flatten and Linear"
NO_GATE = "is no 0/1 gate, and the model writes its activation as h z with h = 1[z > 0] (7), (8)"
REFUSED: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "LocalResponseNorm"),
     "divides signals by their own statistics, so that T is no longer a sum over paths of products of weights (10)",
     "leave it out and train again"),
    (("Dropout",), "draws gates at random, while gates of the model are a function of the input, h = 1[z > 0] (7)",
     "leave it out; a trained module computes the same without it"),
    (("ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "GELU", "SELU", "SiLU", "Sigmoid", "Tanh", "Softplus", "Softmax",
      "Hardswish", "Hardtanh", "Mish", "Softsign", "Threshold", "GLU"), NO_GATE, "use ReLU and train again"),
    (("Parametr",), "computes its weights from other tensors, and the model's parameters are the weights themselves",
     "call torch.nn.utils.parametrize.remove_parametrizations first"),
    (("Adaptive", "LPPool", "FractionalMax"), "is a pool of windows that the model does not have",
     "use MaxPool2d(k) or AvgPool2d(k)"),
    (("Conv1d", "Conv3d", "ConvTranspose"), "is no two-dimensional convolution", "use Conv2d with zero padding"),
    (("DataParallel",), "runs its module on several devices", "give module.module"),
    (("Lazy",), "has no weights yet", "run the module once first"),
)  # fmt: skip


def _no_bias(name: str, module: Any, kind: str) -> None:
    if module.bias is not None and np.any(tensor_array(f"{name}.bias", module.bias) != 0.0):
        raise refuse(
            name, f"({kind}) has a bias, and every path of the model starts at an input (10)",
            "use bias=False and train again",
        )  # fmt: skip


def _conv(name: str, module: Any) -> Step:
    _no_bias(name, module, "Conv2d")
    sides = tuple(module.kernel_size)
    kernel = sides[0]
    if len(set(sides)) > 1 or kernel % 2 == 0:
        raise refuse(
            name, f"(Conv2d) has a kernel of {sides}, and convolutions of the model are square of an odd side",
            "use a kernel of side 3 or 5",
        )  # fmt: skip
    wrong = {
        "stride": (tuple(module.stride) != (1, 1), "stride 1, with a pool behind the ReLU"),
        "dilation": (tuple(module.dilation) != (1, 1), "dilation 1"),
        "groups": (module.groups != 1, "groups=1"),
        "padding_mode": (module.padding_mode != "zeros", "zero padding"),
        "padding": (module.padding not in ("same", sides, (kernel // 2,) * 2), f"padding={kernel // 2}"),
    }
    for option, (bad, remedy) in wrong.items():
        if bad:
            raise refuse(
                name, f"(Conv2d) has {option} {getattr(module, option)!r}, and convolutions of the model have one "
                "output at every site, with zeros around the image", f"use {remedy}",
            )  # fmt: skip
    return Step(name, "conv", module.in_channels, module.out_channels, kernel, module.weight)


def _linear(name: str, module: Any) -> Step:
    _no_bias(name, module, "Linear")
    return Step(name, "dense", module.in_features, module.out_features, 0, module.weight)


def pool_step(name: str, kind: str, options: dict[str, Any]) -> Step:
    """A pool from its options; what is not given is 0, False or None."""
    sides = {option: _pair(options.get(option)) for option in ("kernel_size", "stride", "padding", "dilation")}
    side = sides["kernel_size"][0]
    usual = {"kernel_size": (side, side), "stride": (side, side), "padding": (0, 0), "dilation": (1, 1)}
    wrong = [o for o, value in sides.items() if options.get(o) not in (None, ()) and value != usual[o]]
    wrong += [o for o in ("ceil_mode", "return_indices", "divisor_override") if options.get(o)]
    if wrong:
        raise refuse(
            name, f"(a pool) has {wrong[0]} {options[wrong[0]]!r}, and windows of the model lie side by side",
            f"use {'MaxPool2d' if kind == 'max' else 'AvgPool2d'}({side}) without options",
        )  # fmt: skip
    return Step(name, kind, size=side)


def _pair(value: Any) -> tuple[int, int]:
    if value is None or value == ():
        return (0, 0)
    pair = tuple(value) if isinstance(value, Sequence) else (value,) * 2
    return (int(pair[0]), int(pair[-1]))


def _pool(kind: str) -> Callable[[str, Any], Step]:
    options = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices", "divisor_override")
    return lambda name, module: pool_step(name, kind, {o: getattr(module, o, None) for o in options})


def flatten_step(name: str, start: int, end: int) -> Step:
    """A flattening of everything but the examples."""
    if (start, end) != (1, -1):
        raise refuse(name, f"flattens axes {start} to {end}", "use Flatten() or torch.flatten(x, 1)")
    return Step(name, "flatten")


READERS: dict[str, Callable[[str, Any], Step | None]] = {
    "Conv2d": _conv,
    "Linear": _linear,
    "ReLU": lambda name, _: Step(name, "relu"),
    "MaxPool2d": _pool("max"),
    "AvgPool2d": _pool("avg"),
    "Flatten": lambda name, module: flatten_step(name, module.start_dim, module.end_dim),
    "Identity": lambda name, _: None,
}


class Builder:
    """The layers of `simulator.sequential` from steps, one after the other; `WeightsError` where they cannot follow.

    A max-pool commutes with the ReLU behind it, an average does not.
    """

    def __init__(self, shape: Shape) -> None:
        self.start, self.shape = shape, shape
        self.layers: list[Any] = []
        self.weights: list[tuple[str, Any]] = []
        self._flat = len(shape) == 1
        self._gated = True  # whether a further weight layer may follow

    def take(self, step: Step) -> None:
        """One more step."""
        {"conv": self._weigh, "dense": self._weigh, "relu": self._gate, "flatten": self._flatten,
         "squeeze": self._squeeze, "max": self._pool, "avg": self._pool}[step.kind](step)  # fmt: skip

    def network(self) -> Network:
        """The network of all steps, which end in a dense layer of one output."""
        if not self.weights:
            raise WeightsError("the module has no Conv2d and no Linear: give one with weights")
        last = self.weights[-1][0]
        if not isinstance(self.layers[-1], Dense) or self._gated:
            raise refuse(last, "is not the last step, and the output T is linear in the last layer (10)",
                         "end in Linear(n, 1, bias=False)")  # fmt: skip
        outputs = self.layers[-1].width
        if outputs != 1:
            raise refuse(
                last, f"has {outputs} outputs, and the theory is that of one output T and labels -1 and +1 (10)",
                "take two classes and Linear(n, 1, bias=False), whose weights may be the difference of two rows",
            )  # fmt: skip
        return sequential(self.start, self.layers)

    def _weigh(self, step: Step) -> None:
        if not self._gated:
            raise refuse(
                step.name, f"follows {self.weights[-1][0]!r} without a ReLU, and every hidden layer has gates (7)",
                "put a ReLU between them, or multiply their weights into one layer",
            )  # fmt: skip
        if step.weight is not None and any(step.weight is weight for _, weight in self.weights):
            raise refuse(step.name, "is used twice, and every layer of the model has its own weights",
                         "give it weights of its own")  # fmt: skip
        if step.kind == "conv" and self._flat:
            raise refuse(step.name, "is a convolution of vectors", "put it before the Flatten, or give input_shape")
        if step.kind == "dense" and not self._flat:
            raise refuse(step.name, f"is a Linear on images {self.shape}", "put a Flatten() before it")
        arrive = self.shape[-1] if step.kind == "conv" else math.prod(self.shape)
        if step.taken != arrive:
            raise refuse(
                step.name, f"takes {step.taken} inputs where {arrive} arrive from an input of shape {self.start}",
                "give the input_shape of the images, (height, width, channels)",
            )  # fmt: skip
        conv = step.kind == "conv"
        self.layers.append(Conv(step.given, step.size) if conv else Dense(step.given))
        self.shape = (*self.shape[:2], step.given) if conv else (step.given,)
        self.weights.append((step.name, step.weight))
        self._gated = False

    def _gate(self, step: Step) -> None:
        if not self.weights:
            raise refuse(step.name, "is a ReLU of the inputs, and gates stand behind weights (7)",
                         "apply it to the data")  # fmt: skip
        self._gated = True

    def _flatten(self, step: Step) -> None:
        if step.taken not in (0, math.prod(self.shape)):
            raise refuse(step.name, f"makes rows of {step.taken} from examples of shape {self.shape}",
                         "use torch.flatten(x, 1), and give the input_shape of the images")  # fmt: skip
        self._flat = True

    def _squeeze(self, step: Step) -> None:
        """The axis of the one output, left out."""
        if self.shape != (1,) or self._gated:
            raise refuse(step.name, "leaves out axes in the middle", "use it on the output only")

    def _pool(self, step: Step) -> None:
        if self._flat:
            raise refuse(step.name, "pools vectors", "pool images, before the Flatten")
        if not self._gated and step.kind == "avg":
            raise refuse(step.name, "averages before the ReLU, and pools of the model stand behind the gates",
                         "put the ReLU before it")  # fmt: skip
        if min(self.shape[:2]) < step.size:
            raise refuse(step.name, f"has windows of side {step.size} on images {self.shape}", "use larger images")
        self.layers.append(MaxPool(step.size) if step.kind == "max" else AvgPool(step.size))
        self.shape = (self.shape[0] // step.size, self.shape[1] // step.size, self.shape[2])

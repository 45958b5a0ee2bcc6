"""The steps of a module with a forward of its own, from the graph that torch.fx records of it.

Only what is certain is followed: every value is used by the next step and by nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from .steps import NO_GATE, ONLY, Step, flatten_step, module_step, pool_step, refuse

POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
MEANS = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
GATES = ("sigmoid", "tanh", "gelu", "elu", "selu", "silu", "leaky_relu", "relu6", "softmax", "softplus", "hardtanh")

JOINS = ("add", "add_", "iadd", "sub", "mul", "imul", "cat", "concat", "stack", "matmul")


def traced_steps(name: str, module: Any) -> Iterator[Step]:
    """The steps of `module`, called `name`, in the order in which its forward takes them.

    Raises `WeightsError` where the forward depends on the values of its input, takes several inputs, uses a value twice
    (a skip connection), or calls what networks here do not have.
    """
    try:
        graph = importlib.import_module("torch.fx").Tracer().trace(module)
    except Exception as error:  # whatever a forward of the user's does with a value that is not there
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise refuse(
            name, f"({type(module).__name__}) has a forward whose order of layers is not certain ({reason})",
            "write the layers as one nn.Sequential",
        ) from None  # fmt: skip
    reached: Any = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if reached is not None:
                raise refuse(name, f"({type(module).__name__}) takes several inputs, and the model has one, x (10)",
                             "give one input")  # fmt: skip
            reached = node
        elif node.op == "output":
            if node.args[0] is not reached:
                raise refuse(name, f"({type(module).__name__}) gives several values, or one from its inside, and the "
                             "model has one output T (10)", "return the output of the last layer")  # fmt: skip
        elif not _is_size(node):
            if node.op == "get_attr":
                raise refuse(_place(name, node), "is a tensor that the forward uses by itself, in no layer", ONLY)
            _check_chain(name, node, reached)
            step = _step(name, node, module)
            reached = node
            if step is not None:
                yield step


def _is_size(node: Any) -> bool:
    """Whether a node only asks for a shape, such as x.size(0) or x.shape[0]."""
    word = _word(node)
    if word == "getattr":
        return bool(node.args[1] == "shape")
    return word == "size" or (word == "getitem" and _is_size_node(node.args[0]))


def _is_size_node(value: Any) -> bool:
    return hasattr(value, "op") and value.op != "placeholder" and _is_size(value)


def _word(node: Any) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def _check_chain(name: str, node: Any, reached: Any) -> None:
    given = [value for value in node.all_input_nodes if not _is_size_node(value)]
    if given != [reached] or (node.op != "call_module" and _word(node) in JOINS):
        raise refuse(
            name, f"({_word(node)!r} in its forward) joins values, and all paths of the model pass every layer (10): a "
            "skip connection adds shorter ones", "take it out",
        )  # fmt: skip


def _place(name: str, node: Any) -> str:
    """The dotted name of a module; of a call that of the module whose forward makes it."""
    own = f"{name}.{node.target}" if name else str(node.target)
    return own if node.op in ("call_module", "get_attr") else name


def _step(name: str, node: Any, module: Any) -> Step | None:
    place, word = _place(name, node), _word(node)
    if node.op == "call_module":
        return module_step(place, module.get_submodule(node.target))
    if node.op in ("call_function", "call_method") and word in CALLS:
        return CALLS[word](place, node)
    if word in GATES:
        raise refuse(place, f"({word!r} in its forward) {NO_GATE}", "use ReLU and train again")
    if "dropout" in word:
        raise refuse(
            place, f"({word!r} in its forward) draws gates at random, while gates of the model are a function of the "
            "input, h = 1[z > 0] (7)", "leave it out; a trained module computes the same without it",
        )  # fmt: skip
    raise refuse(place, f"({type(module).__name__}) calls {word!r}, which is no layer of the model (10)", ONLY)


def _bound(node: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, node.args[1:], strict=False)) | {k: v for k, v in node.kwargs.items() if k != "input"}


def _flattened(place: str, node: Any) -> Step:
    given = {"start_dim": 0, "end_dim": -1} | _bound(node, ("start_dim", "end_dim"))
    return flatten_step(place, given["start_dim"], given["end_dim"])


def _viewed(place: str, node: Any) -> Step:
    """x.view(x.size(0), -1), or a row of known length for every example."""
    sizes = node.args[1:]
    sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    if len(sizes) == 2 and ((_is_size_node(sizes[0]) and isinstance(sizes[1], int)) or sizes[0] == -1):
        return Step(place, "flatten", taken=sizes[1] if isinstance(sizes[1], int) and sizes[1] > 0 else 0)
    raise refuse(place, f"gives the value another shape, {sizes}", "use torch.flatten(x, 1)")


def _squeezed(place: str, node: Any) -> Step:
    return Step(place, "squeeze")


CALLS: dict[str, Callable[[str, Any], Step | None]] = {
    "relu": lambda place, _: Step(place, "relu"),
    "relu_": lambda place, _: Step(place, "relu"),
    "max_pool2d": lambda place, node: pool_step(place, "max", _bound(node, POOL)),
    "avg_pool2d": lambda place, node: pool_step(place, "avg", _bound(node, MEANS)),
    "flatten": _flattened,
    "view": _viewed,
    "reshape": _viewed,
    "squeeze": _squeezed,
    "contiguous": lambda place, node: None,
}

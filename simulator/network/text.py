"""Networks by a line of text: ``mlp:64x64``, ``vgg12:0.25``, ``seq:conv8,pool,dense8``."""

from __future__ import annotations

import math
from collections.abc import Callable

from .layers import AvgPool, Conv, Dense, MaxPool, Pool
from .network import Network, mlp, sequential, vgg12

KINDS = ("mlp", "vgg12", "seq")
FORMS = "mlp:W1xW2x..., vgg12[:WIDTH] or seq:conv8,pool,dense8"
LAYERS: dict[str, Callable[[int], Conv | Pool | Dense]] = {
    "conv": Conv,
    "pool": MaxPool,
    "avg": AvgPool,
    "dense": Dense,
}


def network_from_text(text: str, input_shape: tuple[int, ...]) -> Network:
    """The network that a line of text names, for inputs of a shape; the output layer Dense(1) is added.

    ``mlp:W1xW2x...`` has hidden layers of these widths, ``vgg12[:WIDTH]`` is `vgg12`, and ``seq:`` lists layers: convC
    (C channels, 3×3), pool (maxima of 2×2 windows; pool3: of 3×3), avg (means), denseN. Raises `ValueError` for
    anything else, or where the layers do not fit the inputs.

    >>> network_from_text("seq:conv8,pool,dense4", (8, 8, 3)).weight_shapes
    [(3, 3, 3, 8), (128, 4), (4, 1)]
    """
    kind, _, rest = text.partition(":")
    try:
        if kind == "mlp":
            return mlp([math.prod(input_shape), *(int(n) for n in rest.split("x")), 1])
        if kind == "vgg12":
            return vgg12(float(rest or 1.0), input_shape)
        if kind == "seq":
            return sequential(input_shape, [*(_layer(item) for item in rest.split(",")), Dense(1)])
    except ValueError as error:
        if "invalid literal" in str(error) or "could not convert" in str(error):
            raise ValueError(f"network {text!r} cannot be read: expected {FORMS}") from None
        raise
    raise ValueError(f"network {text!r} is unknown: expected {FORMS}")


def _layer(item: str) -> Conv | Pool | Dense:
    for word, make in LAYERS.items():
        if item.startswith(word):
            number = item.removeprefix(word)
            if word in ("pool", "avg"):
                return make(int(number or 2))
            return make(int(number))
    raise ValueError(f"layer {item!r} is unknown: use convC, pool, avg or denseN, such as seq:conv8,pool,dense8")

"""Labels that a network is trained on: those of the data, or fair coins that know nothing of the inputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LABELS = ("true", "random")


def labels_of(kind: str, y: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The labels y (m,) themselves ("true"), or independent fair draws of -1 and +1 in their place ("random").

    >>> import numpy as np
    >>> from simulator.streams import Streams
    >>> labels_of("true", np.array([1.0, -1.0]), Streams(0)("capacity labels")).tolist()
    [1.0, -1.0]
    """
    return y if kind == "true" else rng.choice([-1.0, 1.0], len(y))

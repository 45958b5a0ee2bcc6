"""The brackets of the bounds (20) and (21) on assemblies of order k = 0, 1, 2: claims to test, not facts.

The paper states them for networks of width n and depth L of which (√n)^{1-µ} weights per layer are broken, µ > 0, with
c the growth factor of signals per layer (1 at the edge of chaos), as O(bracket), without constants or a proof in the
main text. They serve here for ratios measured/bracket, whose trend with n and L is the test.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.inputs import real_array

Real = NDArray[np.float64]


def mean_bracket(n: ArrayLike, L: ArrayLike, mu: ArrayLike, c: ArrayLike) -> Real:
    """(c/2)^L + c^L n^{-Lµ/2}: the bracket of (20), |E Σ δ^kΨ| ≤ O(...).

    A claim under test. It holds trivially where W_L is intact and not removed: the mean is then 0 (M4). It fails where
    layer L is broken or removed. The argument for it takes a factor ½ (M2) and a factor n^{-µ/2} from every layer,
    but E x_l^j = ½E|z_l^j| is set by the second moment of z_l, which does not shrink (M1): both factors act once, in
    the last layer, and |E T| ~ c^L n^{-µ/2} (M4). The ratio measured/bracket then grows like 2^L or n^{(L-1)µ/2}.

    n width ≥ 1, L depth ≥ 1, mu, c ≥ 0: numbers or arrays that broadcast. Raises ValueError outside these ranges.
    """
    width, depth, broken, growth = _checked(n, L, mu, c)
    return np.asarray((growth / 2.0) ** depth + growth**depth * width ** (-depth * broken / 2.0))


def second_moment_bracket(n: ArrayLike, L: ArrayLike, mu: ArrayLike, c: ArrayLike) -> Real:
    """c^{2L} + (c/2)^{2L} + c^{2L} n^{-Lµ}: the bracket of (21), E(Σ δ^kΨ)² ≤ O(...).

    A claim under test. The first term dominates both others, and for intact weights it is M1's law, exact with
    its constant: E T² = s_L² ||x||² Π n_l s_l²/2. What remains open is the effect of broken weights, whose constant may
    grow with L (each layer adds the cross term of M3), and k = 1, 2 for every set of removed layers.

    Arguments as in `mean_bracket`.
    """
    width, depth, broken, growth = _checked(n, L, mu, c)
    power = growth ** (2.0 * depth)
    return np.asarray(power + (growth / 2.0) ** (2.0 * depth) + power * width ** (-depth * broken))


def _checked(n: ArrayLike, L: ArrayLike, mu: ArrayLike, c: ArrayLike) -> tuple[Real, Real, Real, Real]:
    values = [real_array(v, name) for v, name in zip((n, L, mu, c), ("n", "L", "mu", "c"), strict=True)]
    for name, value, least in zip(("n", "L", "mu", "c"), values, (1.0, 1.0, 0.0, 0.0), strict=True):
        if not (np.isfinite(value) & (value >= least)).all():
            raise ValueError(f"{name} holds {value.ravel()[np.argmin(value)]:g}: expected finite numbers >= {least:g}")
    return values[0], values[1], values[2], values[3]

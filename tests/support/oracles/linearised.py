"""The linearised equations a second time, literally: R4, R5 and the cavity by plain damped iteration at one z.

No equation is shared with the packages under test: a network is read through its shapes and weights alone, signals come
from loops over sites, gather and scatter are loops over pairs of sites, every neuron has its own inverse, and the
Hessian of fixed signals is assembled from unit directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np

from simulator import AvgPool, MaxPool
from theory.signals import LayerSignals, NetworkSignals

Array = np.ndarray[Any, Any]
Site = tuple[int, ...]
STEPS = 20_000
SMALL = 1e-9


@dataclass(frozen=True)
class Layer:
    """Signals of weight layer l: x (n, n_{l-1}) below, δ̂ (S_l, n_l), φ_o as lists with None outside, for each channel
    the pairs (S_l site, S'_l site) of its on-set, S'_l, s_l², whether it reads images, and which means of the S'_{l-1}
    sites the n sites below are (n, S'_{l-1}), if they are not those sites themselves."""

    x: Array
    delta: Array
    phi: list[list[int | None]]
    on: list[list[tuple[int, int]]]
    n_pooled: int
    variance: float
    placed: bool
    means: Array | None = None

    @cached_property
    def reads(self) -> list[Array]:
        """φ_o as 0/1 matrices (S_l, n)."""
        matrices = [np.zeros((len(self.delta), len(self.x))) for _ in self.phi]
        for matrix, phi in zip(matrices, self.phi, strict=True):
            for site, below in enumerate(phi):
                if below is not None:
                    matrix[site, below] = 1.0
        return matrices

    @cached_property
    def shifts(self) -> list[Array]:
        """From the S'_{l-1} sites to S_l, (S_l, S'_{l-1})."""
        return [read if self.means is None else read @ self.means for read in self.reads]

    @cached_property
    def seen(self) -> list[Array]:
        """x at every offset, (S_l, n_{l-1}) each."""
        return [read @ self.x for read in self.reads]

    @cached_property
    def sent(self) -> list[Array]:
        """δ̂ through every offset, (S'_{l-1}, n_l) each."""
        return [shift.T @ self.delta for shift in self.shifts]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(|O_l|, n_{l-1}, n_l)."""
        return len(self.phi), self.x.shape[1], self.delta.shape[1]


def sites(m: int, shape: tuple[int, ...]) -> list[Site]:
    """(example, position) of a map of one example's shape (H, W, n) or (n,)."""
    return list(product(range(m), *(range(side) for side in shape[:-1])))


def kernel_maps(layer: Any, m: int) -> list[list[int | None]]:
    """φ_o: which site below a site reads at offset o."""
    below = {site: index for index, site in enumerate(sites(m, layer.input_shape))}
    here = sites(m, layer.gate_shape)
    if len(layer.weight_shape) == 4:
        r = layer.weight_shape[0] // 2
        shifts = product(range(-r, r + 1), repeat=2)
        return [[below.get((i, y + down, x + right)) for i, y, x in here] for down, right in shifts]
    return [[below[(*site, *place)] for site in here] for place in product(*(range(s) for s in layer.input_shape[:-1]))]


def pool(values: Array, origin: Array, size: int) -> tuple[Array, Array]:
    """Max-pooling of one channel (H, W), and where each maximum came from."""
    height, width = values.shape[0] // size, values.shape[1] // size
    out, came = np.zeros((height, width)), np.zeros((height, width), dtype=int)
    for y, x in product(range(height), range(width)):
        window = [(y * size + dy, x * size + dx) for dy, dx in product(range(size), repeat=2)]
        best = max(window, key=lambda place: values[place])
        out[y, x], came[y, x] = values[best], origin[best]
    return out, came


def measured_layers(network: Any, weights: Sequence[Array], x: Array, c: Array) -> list[Layer]:
    """Signals of every layer, the last included (its δ̂ is c and nothing is on)."""
    m, value = len(x), np.asarray(x, dtype=float)
    for spec in network.input_pools:
        index = np.zeros(value.shape[1:3], dtype=int)
        maximum = partial(pool, origin=index, size=spec.size)
        one = partial(mean, s=spec.size) if isinstance(spec, AvgPool) else lambda v, largest=maximum: largest(v)[0]
        value = np.stack([np.stack([one(v[..., a]) for a in range(v.shape[-1])], -1) for v in value])
    below, found = value.reshape(-1, value.shape[-1]), []
    kernels, means = [], None
    for layer, w in zip(network.layers, weights, strict=True):
        phi = kernel_maps(layer, m)
        kernel = np.asarray(w).reshape(len(phi), below.shape[1], -1)
        z = np.zeros((len(phi[0]), kernel.shape[2]))
        for site, o in product(range(len(z)), range(len(phi))):
            place = phi[o][site]
            if place is not None:
                z[site] += below[place] @ kernel[o]
        on, above = pooled_sites(layer, z, m)
        found.append((below, phi, on, len(above), len(layer.input_shape) == 3, means))
        kernels.append(kernel)
        means = mean_matrix(layer, m)
        below = above if means is None else means @ above
    delta, layers = np.asarray(c)[:, None], []
    for (below, phi, on, n_pooled, placed, means), kernel in reversed(list(zip(found, kernels, strict=True))):
        if layers:
            seen, delta = layers[0], np.zeros((max(len(phi[0]), 1), kernel.shape[2]))
            back = sum(sent @ k.T for sent, k in zip(seen.sent, kernels[len(found) - len(layers)], strict=True))
            for b, pairs in enumerate(on):
                for site, place in pairs:
                    delta[site, b] = back[place, b]
        layers.insert(0, Layer(below, delta, phi, on, n_pooled, float(np.mean(kernel**2)), placed, means))
    return layers


def mean(v: Array, s: int) -> Array:
    """Means of the whole windows of one channel (H, W)."""
    places = product(range(v.shape[0] // s), range(v.shape[1] // s))
    means = [v[y * s : y * s + s, x * s : x * s + s].mean() for y, x in places]
    return np.array(means).reshape(v.shape[0] // s, v.shape[1] // s)


def maxima(layer: Any) -> list[int]:
    """Sizes of the max-pools, all of which come first."""
    return [spec.size for spec in layer.pools if isinstance(spec, MaxPool)]


def mean_matrix(layer: Any, m: int) -> Array | None:
    """The average pools of a layer as a matrix on the sites behind its max-pools, site by site; None without any."""
    sizes = [spec.size for spec in layer.pools if not isinstance(spec, MaxPool)]
    if not sizes:
        return None
    first = math.prod(maxima(layer))
    shape = tuple(side // first for side in layer.gate_shape[:2])
    columns = []
    for i, y, x in product(range(m), *(range(side) for side in shape)):
        image = np.zeros((m, *shape))
        image[i, y, x] = 1.0
        for size in sizes:
            image = np.stack([mean(one, size) for one in image])
        columns.append(image.ravel())
    return np.array(columns).T


def pooled_sites(layer: Any, z: Array, m: int) -> tuple[list[list[tuple[int, int]]], Array]:
    """On-sets of every channel of z (S_l, n_l), and x_l (S'_l, n_l)."""
    places = layer.gate_shape[:-1]
    first, means = math.prod(maxima(layer)), mean_matrix(layer, m)
    n_pooled = m * math.prod(side // first for side in places)
    above, on = np.zeros((n_pooled, z.shape[1])), []
    for b in range(z.shape[1]):
        pairs = []
        values, origin = np.maximum(z[:, b], 0.0), np.arange(len(z))
        if maxima(layer):
            parts = []
            for v, o in zip(values.reshape(m, *places), origin.reshape(m, *places), strict=True):
                for size in maxima(layer):
                    v, o = pool(v, o, size)
                parts.append((v.ravel(), o.ravel()))
            values, origin = (np.concatenate(p) for p in zip(*parts, strict=True))
        for place, (value, site) in enumerate(zip(values, origin, strict=True)):
            if value > 0.0 and (means is None or means[:, place].any()):  # not at the ragged edge of a mean
                pairs.append((int(site), place))
                above[place, b] = value
        on.append(pairs)
    return on, above


def gather(matrix: Array, layer: Layer) -> Array:
    """Σ_o M[φ_o α, φ_o β], 0 outside."""
    return np.asarray(sum(shift @ matrix @ shift.T for shift in layer.shifts))


def scatter(matrix: Array, layer: Layer) -> Array:
    """Its adjoint."""
    return np.asarray(sum(shift.T @ matrix @ shift for shift in layer.shifts))


def answer(a: Array, b: Array, pairs: list[tuple[int, int]]) -> tuple[Array, Array]:
    """(T, U) of one neuron, zero outside its on-set: Q = (I - A_σσ B_σσ)^{-1}, T = B Q, U = Q A."""
    t, u = np.zeros_like(a), np.zeros_like(b)
    if not pairs:
        return t, u
    here, above = (np.array(side) for side in zip(*pairs, strict=True))
    a_on, b_on = a[np.ix_(here, here)], b[np.ix_(above, above)]
    q = np.linalg.inv(np.eye(len(pairs)) - a_on @ b_on)
    t[np.ix_(here, here)], u[np.ix_(above, above)] = b_on @ q, q @ a_on
    return t, u


def iterate(sweep: Callable[[list[Array]], list[Array]], start: list[Array]) -> list[Array]:
    """x ← (x + sweep(x))/2 until nothing moves by more than `SMALL` of the largest of its kind."""
    state = start
    for _ in range(STEPS):
        new = sweep(state)
        moved = max(np.abs(n - s).max() / max(np.abs(n).max(), 1e-300) for n, s in zip(new, state, strict=True))
        if moved < SMALL:
            assert all((np.diagonal(s, axis1=-2, axis2=-1).imag >= -1e-9).all() for s in state if s.ndim > 1)
            return new
        state = [(n + s) / 2.0 for n, s in zip(new, state, strict=True)]
    raise AssertionError(f"the literal iteration still moves by {moved:g} after {STEPS} steps")


def ends(layers: list[Layer], z: complex, t_first: Array, u_last: Array) -> complex:
    """N_1 g_1 + N_L g_L: t_first = Σ_b T_b of layer 1, u_last = Σ_b U_b of layer L-1."""
    first, last = layers[0], layers[-1]
    k0 = sum(x @ x.T for x in first.seen)
    offsets, n0, n1 = first.sizes
    total = -n1 * offsets * n0 / z + np.sum(k0 * t_first) / z**2
    c = [sent[:, 0] for sent in last.sent]
    return complex(total - len(c) * last.sizes[1] / z + sum(v @ u_last @ v for v in c) / z**2)


def mean_field(layers: list[Layer], z: complex) -> complex:
    """N g(z) of R5, equation by equation."""
    depth = len(layers)
    n_hidden = depth - 1
    kernels = [np.asarray(sum(x @ x.T for x in layer.seen)) for layer in layers]
    errors = [layer.delta @ layer.delta.T for layer in layers]
    top = np.asarray(sum(np.outer(v[:, 0], v[:, 0]) for v in layers[-1].sent))

    def sweep(state: list[Array]) -> list[Array]:
        u, t, g = state[:n_hidden], state[n_hidden : 2 * n_hidden], [0.0, *(v[0] for v in state[2 * n_hidden :])]
        new_u, new_t = [], []
        for at, layer in enumerate(layers[:-1]):
            _, n_in, n_out = layer.sizes
            a = layer.variance * n_in * gather(u[at - 1], layer) + g[at] * kernels[at] if at else -kernels[0] / z
            if at == n_hidden - 1:
                b = -top / z
            else:
                above = layers[at + 1]
                b = scatter(above.variance * above.sizes[2] * t[at + 1] + g[at + 1] * errors[at + 1], above)
            answers = [answer(a, b, pairs) for pairs in layer.on]
            new_t.append(sum(one[0] for one in answers) / n_out)
            new_u.append(sum(one[1] for one in answers) / n_out)
        new_g = []
        for at in range(1, n_hidden):
            offsets, n_in, n_out = layers[at].sizes
            of_t = np.sum(kernels[at] * new_t[at]) / (offsets * n_in)
            of_u = np.sum(errors[at] * gather(new_u[at - 1], layers[at])) / (offsets * n_out)
            new_g.append(np.array([-1.0 / (z + of_t + of_u)]))
        return [*new_u, *new_t, *new_g]

    hidden = layers[:-1]
    start = [np.zeros((y.n_pooled, y.n_pooled), dtype=complex) for y in hidden]
    start += [np.zeros((len(y.delta), len(y.delta)), dtype=complex) for y in hidden]
    start += [np.array([-1.0 / z])] * (n_hidden - 1)
    found = iterate(sweep, start)
    u, t, g = found[:n_hidden], found[n_hidden : 2 * n_hidden], found[2 * n_hidden :]
    total = ends(layers, z, hidden[0].sizes[2] * t[0], hidden[-1].sizes[2] * u[-1])
    return total + sum(math.prod(y.sizes) * complex(v[0]) for y, v in zip(hidden[1:], g, strict=True))


def cavity(layers: list[Layer], z: complex) -> complex:
    """N g(z) of the cavity closure, weight by weight."""
    n_hidden = len(layers) - 1
    hidden = layers[:-1]
    top = np.asarray(sum(np.outer(v[:, 0], v[:, 0]) for v in layers[-1].sent))

    def answers(state: list[Array]) -> list[list[tuple[Array, Array]]]:
        """(T_b, U_b) of every neuron of every hidden layer; nu, mu of layer l stand at l - 1."""
        u, t = state[:n_hidden], state[n_hidden : 2 * n_hidden]
        nu, mu = state[2 * n_hidden : 3 * n_hidden - 1], state[3 * n_hidden - 1 :]
        found = []
        for at, layer in enumerate(hidden):
            offsets, n_in, n_out = layer.sizes
            row = []
            for b in range(n_out):
                if at == 0:
                    a = -np.asarray(sum(x @ x.T for x in layer.seen)) / z
                else:
                    a = layer.variance * n_in * gather(u[at - 1], layer)
                    for o, i in product(range(offsets), range(n_in)):
                        column = layer.seen[o][:, i]
                        a = a + nu[at - 1][o, i, b] * np.outer(column, column)
                if at == n_hidden - 1:
                    field = -top / z
                else:
                    above = layers[at + 1]
                    field = above.variance * above.sizes[2] * scatter(t[at + 1], above)
                    for o, j in product(range(above.sizes[0]), range(above.sizes[2])):
                        column = above.sent[o][:, j]
                        field = field + mu[at][o, b, j] * np.outer(column, column)
                row.append(answer(a, field, layer.on[b]))
            found.append(row)
        return found

    def forms(at: int, found: list[list[tuple[Array, Array]]], state: list[Array]) -> tuple[Array, Array]:
        """t' and u' of the weights of hidden layer l ≥ 1 (counted from 0), (|O|, n_in, n_out)."""
        layer, nu, mu = hidden[at], state[2 * n_hidden + at - 1], state[3 * n_hidden + at - 2]
        t, u = np.zeros(layer.sizes, dtype=complex), np.zeros(layer.sizes, dtype=complex)
        for o, a, b in product(*(range(size) for size in layer.sizes)):
            x, e = layer.seen[o][:, a], layer.sent[o][:, b]
            t[o, a, b], u[o, a, b] = x @ found[at][b][0] @ x, e @ found[at - 1][a][1] @ e
        return t / (1.0 + nu * t), u / (1.0 + mu * u)

    def sweep(state: list[Array]) -> list[Array]:
        found = answers(state)
        new_u = [sum(one[1] for one in row) / len(row) for row in found]
        new_t = [sum(one[0] for one in row) / len(row) for row in found]
        own = [forms(at, found, state) for at in range(1, n_hidden)]
        return [*new_u, *new_t, *(-1.0 / (z + u) for _, u in own), *(-1.0 / (z + t) for t, _ in own)]

    start = [np.zeros((y.n_pooled, y.n_pooled), dtype=complex) for y in hidden]
    start += [np.zeros((len(y.delta), len(y.delta)), dtype=complex) for y in hidden]
    start += [np.full(y.sizes, -1.0 / z) for y in hidden[1:]] * 2
    state = iterate(sweep, start)
    found = answers(state)
    total = ends(layers, z, sum(one[0] for one in found[0]), sum(one[1] for one in found[-1]))
    for at in range(1, n_hidden):
        t, u = forms(at, found, state)
        total += complex(np.sum(-1.0 / (z + t + u)))
    return total


def arc_cosine_kernels(
    x: Array, widths: Sequence[int], variances: Sequence[float]
) -> tuple[list[Array], list[Array], list[Array]]:
    """Σ^l, q^l and k^l of the hidden layers, pair of examples by pair."""
    m, sigma = len(x), variances[0] * x @ x.T
    sigmas, overlaps, activations = [], [], []
    for at in range(1, len(widths) - 1):
        k, q = np.zeros((m, m)), np.zeros((m, m))
        for i, j in product(range(m), repeat=2):
            size = math.sqrt(sigma[i, i] * sigma[j, j])
            theta = 0.0 if i == j else math.acos(min(max(sigma[i, j] / size, -1.0), 1.0))
            q[i, j] = (math.pi - theta) / (2 * math.pi)
            k[i, j] = size * (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / (2 * math.pi)
        sigmas.append(sigma)
        overlaps.append(q)
        activations.append(k)
        sigma = variances[at] * widths[at] * k
    return sigmas, overlaps, activations


def population_mean_field(
    x: Array, c: Array, widths: Sequence[int], variances: Sequence[float], on: Sequence[Array], z: complex
) -> complex:
    """N g(z) of R4 with on-sets (m, samples) of 0/1 for every hidden layer."""
    m, n_hidden = len(x), len(widths) - 2
    _, overlaps, activations = arc_cosine_kernels(x, widths, variances)
    d, errors = np.ones((m, m)), []
    for at in range(n_hidden, 0, -1):
        d = overlaps[at - 1] * variances[at] * widths[at + 1] * d
        errors.insert(0, np.outer(c, c) * d)

    def sweep(state: list[Array]) -> list[Array]:
        u, t, g = state[:n_hidden], state[n_hidden : 2 * n_hidden], [0.0, *(v[0] for v in state[2 * n_hidden :])]
        new_u, new_t = [], []
        for at in range(n_hidden):
            below = widths[at]
            a = variances[at] * below * u[at - 1] + below * activations[at - 1] * g[at] if at else -x @ x.T / z
            if at == n_hidden - 1:
                b = -np.outer(c, c) / z
            else:
                b = widths[at + 2] * (variances[at + 1] * t[at + 1] + errors[at + 1] * g[at + 1])
            answers = [answer(a, b, [(int(i), int(i)) for i in np.flatnonzero(gates)]) for gates in on[at].T]
            new_t.append(sum(one[0] for one in answers) / len(answers))
            new_u.append(sum(one[1] for one in answers) / len(answers))
        new_g = [
            np.array([-1.0 / (z + np.sum(activations[at - 1] * new_t[at]) + np.sum(errors[at] * new_u[at - 1]))])
            for at in range(1, n_hidden)
        ]
        return [*new_u, *new_t, *new_g]

    start = [np.zeros((m, m), dtype=complex)] * (2 * n_hidden) + [np.array([-1.0 / z])] * (n_hidden - 1)
    found = iterate(sweep, start)
    u, t, g = found[n_hidden - 1], found[n_hidden], found[2 * n_hidden :]
    total = widths[1] * (-widths[0] / z + np.sum(x @ x.T * t) / z**2) + widths[-2] * (-1.0 / z + c @ u @ c / z**2)
    inner = sum(widths[at + 1] * widths[at + 2] * complex(v[0]) for at, v in enumerate(g))
    return complex(total + inner)


def hessian(layers: list[Layer], weights: Sequence[Array]) -> Array:
    """H of fixed signals: the form Σ_{l≥2} u_{l-1}^T V_l δ̂_l made symmetric, u_l = D_l(W_l^T u_{l-1} + V_l^T x_{l-1}).

    weights: (|O_l|, n_{l-1}, n_l) for every layer; only those of layers 2..L-1 matter.
    """
    n = sum(math.prod(y.sizes) for y in layers)
    h, first = np.zeros((n, n)), 0
    tangent = None
    for at, layer in enumerate(layers):
        offsets, n_in, n_out = layer.sizes
        place = np.arange(first, first + math.prod(layer.sizes)).reshape(layer.sizes)
        first += place.size
        if tangent is not None:
            # V_l sends δ̂ to the sites below, where it meets the tangent u_{l-1}.
            for o, a, b in product(range(offsets), range(n_in), range(n_out)):
                h[place[o, a, b]] += layer.sent[o][:, b] @ tangent[:, a]
        if at == len(layers) - 1:
            break
        z = np.zeros((len(layer.delta), n_out, n))
        for o, a, b in product(range(offsets), range(n_in), range(n_out)):
            z[:, b, place[o, a, b]] += layer.seen[o][:, a]
            if tangent is not None:
                z[:, b] += weights[at][o, a, b] * (layer.shifts[o] @ tangent[:, a])
        tangent = np.zeros((layer.n_pooled, n_out, n))
        for b, pairs in enumerate(layer.on):
            for site, above in pairs:
                tangent[above, b] = z[site, b]
    return h + h.T


def mean_square(layers: list[Layer]) -> float:
    """E tr H² over independent centred weights with the layers' variances: H is affine in every layer's weights, so
    the parts of H that each set of weights, at most one of a layer, multiplies are orthogonal."""
    inner = layers[1:-1]

    def part(chosen: Sequence[tuple[int, ...] | None]) -> Array:
        """The coefficient of the product of the chosen weights, by inclusion and exclusion."""
        total: Array | float = 0.0
        for kept in product(*((False,) if index is None else (False, True) for index in chosen)):
            weights = [np.zeros(layer.sizes) for layer in layers]
            for w, index, keep in zip(weights[1:], chosen, kept, strict=False):
                if keep:
                    w[index] = 1.0
            missing = sum(index is not None for index in chosen) - sum(kept)
            total = total + (-1.0) ** missing * hessian(layers, weights)
        return np.asarray(total)

    choices = [[None, *product(*(range(size) for size in layer.sizes))] for layer in inner]
    total = 0.0
    for chosen in product(*choices):
        scale = math.prod(y.variance for y, index in zip(inner, chosen, strict=True) if index is not None)
        total += scale * float(np.sum(part(chosen) ** 2))
    return total


def replicate(layers: list[Layer], r: int) -> list[Layer]:
    """Every hidden neuron r times, with fan-in and fan-out: variances s_l²/r for l ≥ 2, δ̂/√r below the top."""
    copies = []
    for at, layer in enumerate(layers):
        first, last = at == 0, at == len(layers) - 1
        copies.append(
            Layer(
                x=layer.x if first else np.repeat(layer.x, r, axis=1),
                delta=layer.delta if last else np.repeat(layer.delta, r, axis=1) / math.sqrt(r),
                phi=layer.phi,
                on=[pairs for pairs in layer.on for _ in range(1 if last else r)],
                n_pooled=layer.n_pooled,
                variance=layer.variance / (1 if first else r),
                placed=layer.placed,
                means=layer.means,
            )
        )
    return copies


def fresh_spectra(layers: list[Layer], count: int, rng: np.random.Generator) -> Array:
    """Eigenvalues (count, N) of H at fixed signals for fresh Gaussian weights of the layers' variances."""
    return np.stack(
        [
            np.linalg.eigvalsh(hessian(layers, [math.sqrt(y.variance) * rng.normal(size=y.sizes) for y in layers]))
            for _ in range(count)
        ]
    )


def as_signals(layers: list[Layer]) -> NetworkSignals:
    """The same signals in the form that the theory takes."""
    hidden = []
    for at, layer in enumerate(layers[:-1]):
        source = np.full((layer.n_pooled, len(layer.on)), -1)
        for b, pairs in enumerate(layer.on):
            for site, above in pairs:
                source[above, b] = site
        hidden.append(
            LayerSignals(
                inputs=np.concatenate(layer.seen, axis=1),
                errors=None if at == 0 else np.concatenate(layer.sent, axis=1),
                source=source,
                n_sites=len(layer.delta),
                n_in=layer.x.shape[1],
                n_out=layer.delta.shape[1],
                variance=layer.variance,
                offsets=None
                if not layer.placed
                else np.array([[-1 if p is None else p for p in o] for o in layer.phi]),
                windows=None if layer.means is None else np.array([np.flatnonzero(row) for row in layer.means]),
            )
        )
    return NetworkSignals(
        tuple(hidden), np.concatenate(layers[-1].sent, axis=1), tuple(math.prod(y.sizes) for y in layers)
    )

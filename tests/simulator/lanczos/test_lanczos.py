"""Stochastic Lanczos quadrature against dense linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from backends import get_backend
from simulator import HessianOperator, SpectralDensity, spectral_density
from simulator.lanczos.density import gauss_rule
from simulator.lanczos.iteration import Lanczos
from support.cases import DENSE, IMAGES, Array, assert_close

ROUNDING = 1e-12


class Recorder:
    """A square operator that remembers the first block it was given: the probes, as columns."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self.shape, self.probes, self.widths = matrix, matrix.shape, np.zeros((0, 0)), list[int]()

    def __matmul__(self, v: Array) -> Array:
        if not self.widths:
            self.probes = np.array(v)
        self.widths.append(v.shape[1])
        return np.asarray(self.matrix @ v)


def with_spectrum(eigenvalues: Any, seed: int = 0) -> Array:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    values = np.asarray(eigenvalues, dtype=float)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    matrix: Array = (q * values) @ q.T
    return (matrix + matrix.T) / 2


# Like a ReLU Hessian: a heavy atom at 0, a symmetric bulk, two outliers.
ATOM = np.concatenate([np.zeros(90), np.linspace(-1, 1, 58), [-3.0, 4.0]])


def hessian() -> tuple[HessianOperator, Array]:
    operator = HessianOperator(*IMAGES[1].problem)
    return operator, operator.dense()


SPECTRA: dict[str, Callable[[], tuple[Any, Array]]] = {
    "prescribed": lambda: (with_spectrum(ATOM), with_spectrum(ATOM)),
    "network": hessian,
}


@pytest.mark.parametrize("name", SPECTRA)
def test_moments_and_density_within_four_standard_errors(name: str) -> None:
    operator, matrix = SPECTRA[name]()
    eigenvalues = np.linalg.eigvalsh(matrix)
    rms = np.sqrt(np.mean(eigenvalues**2))
    result = spectral_density(operator, n_probes=64, n_steps=60)
    for order in range(1, 7):
        value, error = result.moment(order)
        assert abs(value - np.mean(eigenvalues**order)) < 4 * error
    energies = np.linspace(-4, 4, 33) * rms
    for eta in (0.05 * rms, rms):
        expected = np.mean(1 / (eigenvalues[:, None] - energies - 1j * eta), axis=0).imag / np.pi
        density, errors = result.density(energies, eta)
        assert density.shape == errors.shape == energies.shape
        assert np.all(np.abs(density - expected) < 4 * errors)
        assert_close(density, expected, 0.2)
        assert_close(result.stieltjes(energies + 1j * eta).imag / np.pi, density, ROUNDING)
    assert result.rms == np.sqrt(result.moment(2)[0])


def test_the_atom_at_zero_is_found() -> None:
    """90 of 150 eigenvalues are 0: the mean weight on the nodes at 0 is 0.6 within four standard errors."""
    result = spectral_density(with_spectrum(ATOM), n_probes=64, n_steps=70)
    mass = np.sum(result.weights * (np.abs(result.nodes) < 1e-9), axis=1)
    assert abs(mass.mean() - 0.6) < 4 * mass.std(ddof=1) / 8
    assert mass.std() < 0.1


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_each_rule_is_exact_to_degree_2k_minus_1(n: int, k: int, seed: int) -> None:
    """Στ = 1 and Σ τ θ^j = v^T H^j v for j ≤ 2k-1, with the probes that were used; and no further."""
    matrix = with_spectrum(np.random.default_rng(seed).uniform(-1, 1, n), seed)
    operator = Recorder(matrix)
    result = spectral_density(operator, n_probes=3, n_steps=k, seed=seed)
    assert result.weights.min() >= 0
    assert_close(result.weights.sum(axis=1), np.ones(3), ROUNDING)
    power = operator.probes
    for order in range(2 * k + 1):
        expected = np.sum(operator.probes * power, axis=0)
        found = np.sum(result.weights * result.nodes**order, axis=1)
        if order < 2 * k:
            assert np.abs(found - expected).max() < 1e-11
        elif k < n // 2:
            assert np.abs(found - expected).max() > 1e-11 or n <= k
        power = matrix @ power


def test_probes_are_independent_unit_rademacher_vectors() -> None:
    def probes(seed: Any) -> Array:
        operator = Recorder(with_spectrum(ATOM))
        spectral_density(operator, n_probes=4, n_steps=2, seed=seed)
        return operator.probes

    v = np.hstack([probes(0), probes(1)])
    assert_close(np.abs(v), np.full((150, 8), 150**-0.5), ROUNDING)
    overlaps = (v.T @ v)[~np.eye(8, dtype=bool)]
    assert np.abs(overlaps).max() < 5 / np.sqrt(150)
    assert np.array_equal(probes(0), v[:, :4])
    generator = np.random.default_rng(0)
    assert not np.array_equal(probes(generator), probes(generator))


def test_probes_do_not_depend_on_their_number() -> None:
    two, five = (spectral_density(with_spectrum(ATOM), n_probes=n, n_steps=6, seed=3) for n in (2, 5))
    assert_close(five.nodes[:2], two.nodes, ROUNDING)


@pytest.mark.parametrize("steps", [60, 100])
def test_an_isolated_eigenvalue_comes_back_once(steps: int) -> None:
    """Without re-orthogonalisation, converged eigenvalues return as ghosts."""
    eigenvalues = np.concatenate([np.linspace(-1, 1, 119), [50.0]])
    result = spectral_density(with_spectrum(eigenvalues), n_probes=3, n_steps=steps)
    assert np.all(np.sum(np.abs(result.nodes - 50) < 1, axis=1) == 1)
    assert_close(result.nodes.max(axis=1), np.full(3, 50.0), 1e-12)
    assert np.all(np.diff(np.sort(result.nodes, axis=1)) > 1e-9)


class Rounded:
    """A diagonal matrix whose products are rounded to a precision, on a backend of it."""

    def __init__(self, eigenvalues: Array, dtype: str, backend: str = "numpy") -> None:
        self.diagonal, self.backend = eigenvalues.astype(dtype), get_backend(backend, dtype)
        self.shape, self.tangent_bytes = (len(eigenvalues), len(eigenvalues)), 0
        self.precision = float(np.finfo(dtype).eps)

    def __matmul__(self, v: Array) -> Array:
        return self.rows(v.T).T

    def underflows(self) -> bool:
        return False

    def rows(self, v: Array) -> Array:
        return np.asarray(v * self.diagonal)


def rounded(monkeypatch: pytest.MonkeyPatch, eigenvalues: Array, kind: str) -> Rounded:
    """Such an operator whose recurrences stay on its backend: double or single precision, or bases in half of that."""
    monkeypatch.setattr("simulator.lanczos.products.HessianOperator", Rounded)
    monkeypatch.setattr("backends.numba.backend.LARGE_BASIS", 0)
    return Rounded(eigenvalues, "float64" if kind == "double" else "float32", "numba" if kind == "half" else "numpy")


@pytest.mark.parametrize("kind", ["double", "single", "half"])
@pytest.mark.parametrize("outliers", [[], [40.0], [-300.0, 90.0, 100.0, 101.0]], ids=str)
def test_orthogonality_is_kept_with_few_passes(
    kind: str, outliers: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overlaps stay about sqrt(eps) or less, and the rules are those of orthogonalising at every step.

    Eigenvectors are single coordinates: where a basis is rounded, errors meet what they came from.
    """
    eigenvalues = np.concatenate([np.random.default_rng(3).standard_normal(4000), outliers])
    operator, steps = rounded(monkeypatch, eigenvalues, kind), 100
    eps, ops = float(np.finfo(operator.backend.dtype).eps), operator.backend
    inner, keep, passes, vectors = ops.orthogonalise, ops.keep, list[int](), list[Array]()

    def counted(basis: Array, *rest: Array) -> Array:
        passes.append(len(basis))
        return np.asarray(inner(basis, *rest))

    def kept(basis: Array, row: int, w: Array, norm: float, unit: Array) -> None:
        keep(basis, row, w, norm, unit)
        vectors.append(unit.astype(float))

    monkeypatch.setattr(ops, "orthogonalise", counted)
    monkeypatch.setattr(ops, "keep", kept)
    few = Lanczos(operator, 2, steps)
    while few.advance():
        pass
    assert (few._bases[0].dtype == np.uint16) == (kind == "half")
    for q in np.array(vectors).reshape(steps, 2, -1).swapaxes(0, 1):
        assert np.max(np.abs(q @ q.T - np.eye(steps))) < 3 * np.sqrt(eps)
    # Two probes that read all at every step come to steps²; the coarser the rounding, the sooner it grows to sqrt(eps).
    read = {"double": 0.45, "single": 0.75, "half": 1.1}[kind]
    assert sum(size for size in passes if size > 2) < read * steps**2
    monkeypatch.setattr("simulator.lanczos.orthogonality.Orthogonality.lost", lambda *_: True)
    monkeypatch.setattr("backends.numba.backend.NumbaBackend._halved", lambda *_: False)
    whole, found = spectral_density(operator, 2, steps), few.result()
    energies, scale = np.linspace(-4, 4, 41), float(np.max(np.abs(eigenvalues)))
    assert_close(found.density(energies, 0.2)[0], whole.density(energies, 0.2)[0], 200 * eps * scale)
    ends = [np.sort(result.nodes)[:, [0, -1]] for result in (found, whole)]
    assert_close(ends[0], ends[1], 20 * eps)


@pytest.mark.parametrize("values", [[1.0], [0.0], [-1.0, 2.0], [0.0, 0.5, 7.0]], ids=str)
def test_breakdown_with_a_basis_in_half_precision(values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    operator = rounded(monkeypatch, np.tile(values, 5000 // len(values)), "half")
    result = spectral_density(operator, 2, 20)
    assert not result.nodes[:, len(values) :].any()
    assert_close(np.sort(result.nodes[:, : len(values)], axis=1), np.tile(values, (2, 1)), 1e-5)


def test_a_basis_in_half_precision_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit; and not into a run that keeps it otherwise."""
    operator = rounded(monkeypatch, np.random.default_rng(3).standard_normal(5000), "half")
    whole, first, second = (Lanczos(operator, 2, 30) for _ in range(3))
    for _ in range(17):
        first.advance()
    second.restore(first.state())
    for run in (whole, second):
        while run.advance():
            pass
    assert np.array_equal(second.alpha, whole.alpha)
    assert np.array_equal(second.beta, whole.beta)
    monkeypatch.setattr("backends.numba.backend.NumbaBackend._halved", lambda *_: False)
    with pytest.raises(ValueError, match="not of a run with these probes"):
        Lanczos(operator, 2, 30).restore(first.state())


def test_all_steps_give_all_eigenvalues() -> None:
    eigenvalues = np.linspace(-2, 3, 25) ** 3
    result = spectral_density(with_spectrum(eigenvalues), n_probes=2, n_steps=25)
    for nodes in result.nodes:
        assert_close(np.sort(nodes), np.sort(eigenvalues), 1e-11)


@pytest.mark.parametrize(
    ("matrix", "nodes"),
    [
        (np.eye(30), [1.0]),
        (-3.5 * np.eye(30), [-3.5]),
        (np.zeros((30, 30)), [0.0]),
        (1e-200 * np.eye(30), [1e-200]),
        (1e100 * np.eye(30), [1e100]),
        (with_spectrum([2.0] * 10 + [-1.0] * 20), [-1.0, 2.0]),
        (with_spectrum([7.0] + [0.0] * 29), [0.0, 7.0]),
        (np.diag([1e-30] + [1.0] * 29), [0.0, 1.0]),
    ],
    ids=["one", "scaled", "zero", "tiny", "huge", "two-values", "rank-one", "graded"],
)
def test_breakdown_is_exact_and_padded(matrix: Array, nodes: list[float]) -> None:
    """d distinct eigenvalues end the recurrence after d steps; the rest of the row is node 0, weight 0."""
    operator = Recorder(matrix)
    result = spectral_density(operator, n_probes=3, n_steps=12)
    assert operator.widths == [3, 2, *[3] * (len(nodes) - 1)]  # after the first product come two that verify it
    assert result.nodes.shape == result.weights.shape == (3, 12)
    found = np.sort(result.nodes[:, : len(nodes)], axis=1)
    assert_close(found, np.tile(nodes, (3, 1)), 1e-12)
    assert not result.nodes[:, len(nodes) :].any()
    assert not result.weights[:, len(nodes) :].any()
    assert_close(result.weights.sum(axis=1), np.ones(3), ROUNDING)
    z = np.array([0.5, 3.0]) + 0.1
    assert_close(result.terminated_density(z, 0.2)[0], result.density(z, 0.2)[0], ROUNDING)


def test_more_steps_than_dimensions_are_padded() -> None:
    result = spectral_density(with_spectrum([1.0, 2.0, 5.0]), n_probes=2, n_steps=10)
    assert result.nodes.shape == result.weights.shape == (2, 10)
    assert_close(np.sort(result.nodes[:, :3], axis=1), [[1.0, 2.0, 5.0]] * 2, ROUNDING)
    assert not result.weights[:, 3:].any()


@pytest.mark.parametrize("group", [1, 2, 3, 7])
def test_the_memory_budget_changes_nothing_but_the_grouping(group: int) -> None:
    matrix, steps, item = with_spectrum(ATOM), 12, 8
    whole = spectral_density(matrix, n_probes=7, n_steps=steps)
    operator, seen = Recorder(matrix), list[int]()
    budget = group * 150 * steps * item
    parts = spectral_density(operator, 7, steps, memory_budget=budget, progress=seen.append)
    assert max(operator.widths) == group
    assert sum(seen) == sum(operator.widths) == 7 * steps + 2
    assert_close(parts.nodes, whole.nodes, 1e-10)
    assert_close(parts.weights, whole.weights, 1e-10)


def test_probes_share_products_while_their_bases_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    basis = 150 * 12 * 8
    monkeypatch.setattr("backends.interface.GROUP_BYTES", 3 * basis + 1)
    assert Lanczos(with_spectrum(ATOM), 7, 12).group == 3
    monkeypatch.setattr("backends.interface.GROUP_BYTES", basis - 1)
    assert Lanczos(with_spectrum(ATOM), 7, 12).group == 1
    monkeypatch.setattr("backends.interface.KEPT_BYTES", basis - 1)
    with pytest.raises(MemoryError, match="use at most 11 steps"):
        Lanczos(with_spectrum(ATOM), 7, 12)


def test_a_basis_beyond_the_budget_is_refused_with_a_remedy() -> None:
    with pytest.raises(MemoryError, match=r"takes 0\.06 GB, the budget is 0\.01 GB: use at most 12 steps"):
        spectral_density(scipy.sparse.eye_array(100_000).tocsr(), n_steps=75, memory_budget=10_000_000)
    assert spectral_density(np.eye(100), n_steps=12, memory_budget=9600).weights[0, 0] == 1.0


@pytest.mark.parametrize("case", [DENSE[4], IMAGES[1]], ids=str)
def test_backends_and_precisions_agree(case: Any) -> None:
    exact = spectral_density(HessianOperator(*case.problem, backend="numpy"), 6, 20)
    z = exact.rms * (np.linspace(-4, 4, 17) + 0.3j)
    for name, dtype, tolerance in (("numba", "float64", 1e-10), ("numba", "float32", 1e-3), ("numpy", "float32", 1e-3)):
        operator = HessianOperator(*case.problem, backend=get_backend(name, dtype))
        assert_close(np.abs(spectral_density(operator, 6, 20).stieltjes(z)), np.abs(exact.stieltjes(z)), tolerance)


def test_what_counts_as_an_operator() -> None:
    matrix = with_spectrum(ATOM)
    expected = spectral_density(matrix, 2, 8)
    for other in (scipy.sparse.csr_array(matrix), scipy.sparse.linalg.aslinearoperator(matrix), Recorder(matrix)):
        assert_close(spectral_density(other, 2, 8).nodes, expected.nodes, 1e-10)


def test_a_single_probe_has_the_largest_error_that_random_signs_can_have() -> None:
    """√(2/N (tr H⁴/N - (tr H²/N)²)), and nothing where N is not known."""
    one = spectral_density(with_spectrum(ATOM), n_probes=1)
    fourth, second = one.moment(4)[0], one.moment(2)[0]
    assert one.moment(2)[1] == pytest.approx(np.sqrt(2 / 150 * (fourth - second**2)))
    unknown = SpectralDensity.from_recurrence(one.alpha, one.beta)
    assert np.isnan(unknown.moment(2)[1])
    assert np.isnan(unknown.terminated_density([0.0], 0.1)[1])
    assert np.isnan(unknown.l1_standard_error(np.linspace(-4, 4, 9), 0.1))


def test_gauss_rule_of_the_chebyshev_recurrence() -> None:
    """α = 0, β = 1/√2, 1/2, ...: nodes cos((2j-1)π/2k), equal weights."""
    k = 9
    nodes, weights = gauss_rule([0.0] * k, [np.sqrt(0.5)] + [0.5] * (k - 2))
    assert_close(nodes, np.sort(np.cos((2 * np.arange(1, k + 1) - 1) * np.pi / (2 * k))), ROUNDING)
    assert_close(weights, np.full(k, 1 / k), ROUNDING)


def test_the_terminator_of_constant_coefficients_is_the_semicircle() -> None:
    """α = a, β = b for ever: g = (a - z - √((a-z)² - 4b²)) / 2b², far below the spacing of the nodes."""
    a, b, k = 0.7, 1.3, 12
    alpha, beta = np.full((2, k), a), np.full((2, k), b)
    nodes, weights = gauss_rule([a] * k, [b] * (k - 1))
    result = SpectralDensity(np.tile(nodes, (2, 1)), np.tile(weights, (2, 1)), alpha, beta)
    energies = np.linspace(-3, 4, 29)
    value, error = result.terminated_density(energies, 1e-3)
    gap = a - energies - 1e-3j
    g = [next(r for r in np.roots([b**2, -x, 1]) if r.imag > 0) for x in gap]
    assert_close(value, np.imag(g) / np.pi, 1e-10)
    assert not error.any()
    assert np.abs(result.density(energies, 1e-3)[0] - value).max() > 0.1


def test_the_terminated_density_of_few_steps() -> None:
    """A wide random matrix: 20 terminated steps meet the dense density at a width where 20 nodes do not."""
    n = 600
    noise = np.random.default_rng(0).standard_normal((n, n))
    matrix = (noise + noise.T) / np.sqrt(2 * n)
    eigenvalues, energies, eta = np.linalg.eigvalsh(matrix), np.linspace(-3, 3, 61), 0.1
    dense = np.mean(1 / (eigenvalues[:, None] - energies - 1j * eta), axis=0).imag / np.pi
    result = spectral_density(matrix, n_probes=8, n_steps=40)
    few, error = result.terminated_density(energies, eta, 20)
    gauss = spectral_density(matrix, 8, 20).density(energies, eta)
    assert np.all(np.abs(few - dense) < 4 * error)
    assert np.abs(gauss[0] - dense).max() > 2 * np.abs(few - dense).max()
    assert_close(few, spectral_density(matrix, 8, 20).terminated_density(energies, eta)[0], 1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectral_density(np.ones((3, 4))), r"shape \(3, 4\): expected a square one"),
        (lambda: spectral_density(np.eye(3), n_probes=0), "n_probes 0 is not usable"),
        (lambda: spectral_density(np.eye(3), n_steps=2.5), "n_steps 2.5 is not usable"),  # type: ignore[arg-type]
        (lambda: spectral_density(np.eye(3), seed=-1), "seed -1 is not usable"),
        (lambda: identity_result().stieltjes([1.0 + 1j, 2.0]), "upper half plane"),
        (lambda: identity_result().density([0.0], 0.0), "upper half plane"),
        (lambda: identity_result().density([0.0], float("nan")), "upper half plane"),
        (lambda: identity_result().terminated_density([0.0], -1.0), "upper half plane"),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def identity_result() -> SpectralDensity:
    return spectral_density(np.eye(3))


def test_recurrences_are_nested() -> None:
    """The first k of many steps are those of a run of k steps; a breakdown keeps its exact rule."""
    matrix = np.diag(np.concatenate([np.zeros(20), np.linspace(-1, 2, 30)]))
    many, few = (spectral_density(matrix, 3, n, seed=5) for n in (24, 8))
    cut = many.truncated(8)
    for name in ("nodes", "weights", "alpha", "beta"):
        np.testing.assert_allclose(getattr(cut, name), getattr(few, name), atol=1e-12)
    ended = spectral_density(np.diag([1.0, 1.0, -2.0, -2.0]), 2, 4, seed=0)
    np.testing.assert_array_equal(ended.truncated(3).nodes, ended.nodes[:, :3])
    assert np.count_nonzero(ended.weights, axis=1).max() == 2


def resumable() -> dict[str, tuple[Any, int]]:
    """Operators with the budget of a group of two probes."""
    images, matrix = HessianOperator(*IMAGES[1].problem), with_spectrum(ATOM)
    return {
        "matrix": (matrix, 2 * 150 * 10 * 8),
        "breakdown": (np.diag([1.0] * 70 + [-2.0] * 80), 2 * 150 * 10 * 8),
        "network": (images, 2 * images.shape[0] * 10 * 8),
    }


@pytest.mark.parametrize("name", ["matrix", "breakdown", "network"])
def test_a_run_put_back_at_any_step_goes_on_bit_for_bit(name: str) -> None:
    operator, budget = resumable()[name]
    whole = spectral_density(operator, 5, 10, seed=4, memory_budget=budget)
    first = Lanczos(operator, 5, 10, 4, budget)
    stops = 0
    while not first.finished:
        state = {key: np.array(value) for key, value in first.state().items()}
        other = Lanczos(operator, 5, 10, 4, budget)
        other.restore(state)
        while other.advance():
            pass
        for part in ("alpha", "beta", "nodes", "weights"):
            assert getattr(other.result(), part).tobytes() == getattr(whole, part).tobytes()
        first.advance()
        stops += 1
    assert stops == (6 if name == "breakdown" else 30)
    assert sorted(first.state()) == ["alpha", "beta", "due", "live", "overlaps", "place", "products", "scale"]


def test_a_state_of_another_run_is_refused() -> None:
    matrix = with_spectrum(ATOM)
    run = Lanczos(matrix, 3, 8)
    run.advance()
    for other in (Lanczos(matrix, 2, 8), Lanczos(matrix, 3, 9), Lanczos(np.eye(149), 3, 8)):
        with pytest.raises(ValueError, match="not of a run with these probes, steps and weights"):
            other.restore(run.state())


def test_the_working_set_is_told() -> None:
    """Bases of a group, once, whatever the number of groups; the two vectors of its recurrences; two work vectors."""
    run = Lanczos(with_spectrum(ATOM), 7, 12, memory_budget=3 * 150 * 12 * 8)
    assert run.nbytes == 8 * (3 * 150 * 12 + 3 * 2 * 150 + 12 + 150)
    while run.advance():
        assert sum(a.nbytes for a in [run._recent, *run._bases]) == 8 * 3 * 150 * (12 + 2)

"""What is measured of H + G, against dense matrices and their eigenvectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import GramSpectrum, HessianOperator, SpectralDensity, gram_spectrum, spectral_density
from support.cases import CASES, LOSSES, Case
from validation.measurements import whole as module
from validation.measurements.whole import (
    class_shares,
    describe_gradients,
    describe_largest,
    describe_squares,
    gradients,
    has_curvature,
    whole_facts,
)
from validation.predictions.sampled import ensemble_of
from validation.predictions.whole import describe_sums
from validation.statistics.bulk import log_density
from validation.statistics.distances import spectral_grid
from validation.statistics.extremes import SIDES

Array = np.ndarray[Any, Any]
NUMPY = get_backend("numpy")
CHOSEN = [case for case in CASES if case.name in ("depth4", "two-pools")]
ETA = 0.05


def dense(case: Case, part: str, loss: str) -> Array:
    return HessianOperator(*case.problem, loss, part=part, backend=NUMPY).dense()


def exact_law(matrix: Array, probes: int = 1) -> SpectralDensity:
    """Lanczos to its end."""
    return spectral_density(matrix, probes, matrix.shape[0], 0)


def largest(case: Case, loss: str) -> dict[str, Any]:
    found = gradients(*case.problem, loss, NUMPY)
    operators = tuple(HessianOperator(*case.problem, loss, part=part, backend=NUMPY) for part in ("full", "residual"))
    law = exact_law(operators[1].dense())
    rng = np.random.default_rng(0)
    return describe_largest((operators[0], operators[1]), case.weights, case.x, case.y, found, law, rng)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_largest_eigenvalues_are_those_of_the_dense_matrices(case: Case, loss: str) -> None:
    whole, bent, bare = (dense(case, part, loss) for part in ("full", "gauss_newton", "residual"))
    values, vectors = (a[..., ::-1] for a in np.linalg.eigh(whole))
    theta, directions = (a[..., ::-1] for a in np.linalg.eigh(bent))
    made = largest(case, loss)
    slope, rms = case.oracle(loss).gradient(case.theta), exact_law(bare).rms
    assert len(made["largest"]) == 5
    assert made["error"] < 1e-6
    for k, row in enumerate(made["largest"]):
        v, u = vectors[:, k], directions[:, k]
        assert row["whole"] == pytest.approx(values[k], rel=1e-9)
        assert row["gauss_newton"] == pytest.approx(theta[k], rel=1e-9)
        assert row["overlap"] == pytest.approx((u @ v) ** 2, abs=1e-6)
        assert row["span"] == pytest.approx(np.sum(np.square(directions[:, :5].T @ v)), abs=1e-6)
        assert row["shift"] == pytest.approx(u @ bare @ u, abs=1e-8 * np.abs(bare).max())
        assert row["action"] * rms == pytest.approx(np.linalg.norm(bare @ u), rel=1e-6)
        assert row["gradient"] == pytest.approx((slope @ v) ** 2 / (slope @ slope), abs=1e-6)


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_class_shares_are_projections(case: Case) -> None:
    """Of dense eigenvectors on the two mean vectors of √ℓ'' ∇T."""
    found = gradients(*case.problem, "logistic", NUMPY)
    oracle = case.oracle("logistic")
    scaled = np.sqrt(oracle.curvature(case.theta))[:, None] * oracle.jacobian(case.theta)
    means = np.stack([scaled[case.y == label].mean(axis=0) for label in (-1.0, 1.0)], axis=1)
    basis = np.linalg.qr(means)[0]
    directions = np.linalg.eigh(dense(case, "gauss_newton", "logistic"))[1][:, ::-1]
    shares = class_shares(found, case.y)
    for k in range(found.gauss_newton.rank):
        assert shares[k] == pytest.approx(np.sum(np.square(basis.T @ directions[:, k])), abs=1e-7)


def test_classes_of_equal_gradients_span_all_there_is() -> None:
    kernel = np.kron(np.array([[2.0, 0.5], [0.5, 1.0]]), np.ones((3, 3)))
    y = np.repeat([-1.0, 1.0], 3)
    law = gram_spectrum(kernel, np.full(6, 1 / 6), 40)
    shares = class_shares(module.Gradients(kernel, law, law, law), y)
    assert shares[:2] == pytest.approx([1.0, 1.0])
    assert not shares[2:].any()


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_squares_add_up(case: Case) -> None:
    """tr HG against dense matrices: exact in the leading eigenvectors, the rest within its standard error."""
    found = gradients(*case.problem, "squared", NUMPY)
    bare = HessianOperator(*case.problem, "squared", part="residual", backend=NUMPY)
    h, g = bare.dense(), dense(case, "gauss_newton", "squared")
    n = len(h)
    residual = {"rms": float(np.sqrt(np.sum(h**2) / n)), "rms_standard_error": 0.0}
    values = [
        describe_squares(residual, bare, case.weights, case.x, found, np.random.default_rng(seed)) for seed in range(20)
    ]
    exact, scale = 2.0 * np.sum(h * g) / n, np.sum(h**2 + g**2) / n
    crosses = np.array([made["cross"]["value"] for made in values])
    errors = np.array([made["cross"]["standard_error"] for made in values])
    assert abs(crosses.mean() - exact) <= 4.0 * max(crosses.std(ddof=1) / np.sqrt(20), 1e-12 * scale)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(crosses.std(ddof=1), rel=0.6, abs=1e-12 * scale)
    made = values[0]
    assert made["gauss_newton"]["value"] == pytest.approx(np.sum(g**2) / n, rel=1e-10)
    parts = sum(made[name]["value"] for name in ("residual", "gauss_newton", "cross"))
    assert made["whole"]["value"] == pytest.approx(parts, rel=1e-12)


def test_few_examples_leave_nothing_to_chance() -> None:
    """With no more eigenvalues than are taken exactly, tr(H + G)² is that of the dense matrix."""
    case = Case("few", (4,), (("dense", 5), ("dense", 3), ("dense", 1)), examples=4, seed=3)
    found = gradients(*case.problem, "squared", NUMPY)
    bare = HessianOperator(*case.problem, "squared", part="residual", backend=NUMPY)
    h = bare.dense()
    residual = {"rms": float(np.sqrt(np.sum(h**2) / len(h))), "rms_standard_error": 0.0}
    made = describe_squares(residual, bare, case.weights, case.x, found, np.random.default_rng(0))
    whole = dense(case, "full", "squared")
    assert made["whole"]["value"] == pytest.approx(np.sum(whole**2) / len(h), rel=1e-10)
    assert made["whole"]["standard_error"] == 0.0


@pytest.mark.parametrize("loss", ["logistic", "squared", "hinge"])
@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_facts_hold_and_a_wrong_kernel_breaks_them(case: Case, loss: str) -> None:
    found = gradients(*case.problem, loss, NUMPY)
    facts = whole_facts(*case.problem, loss, found, NUMPY)
    assert set(facts) == {"trace", "eigenvector", "order_parameter", "euler"}
    assert all(check["value"] < 1e-12 for check in facts.values())
    wrong = found.kernel * (1.0 + 1e-3 * np.eye(len(found.kernel)))
    broken = whole_facts(*case.problem, loss, _with_kernel(found, wrong), NUMPY)
    assert broken["order_parameter"]["value"] > broken["order_parameter"]["tolerance"]
    if has_curvature(loss):
        assert broken["trace"]["value"] > broken["trace"]["tolerance"]
        assert broken["eigenvector"]["value"] > broken["eigenvector"]["tolerance"]


def _with_kernel(found: module.Gradients, kernel: Array) -> module.Gradients:
    def again(law: GramSpectrum) -> GramSpectrum:
        return gram_spectrum(kernel, law.coefficients, law.size)

    return module.Gradients(kernel, *map(again, (found.gauss_newton, found.tangent, found.fisher)))


def test_no_curvature_no_outliers() -> None:
    made = largest(CHOSEN[0], "hinge")
    assert made["largest"] == []
    assert made["left_out"] == "G = 0: the loss has no curvature"
    assert describe_gradients(gradients(*CHOSEN[0].problem, "hinge", NUMPY))["gauss_newton"]["trace"] == 0.0
    assert [has_curvature(loss) for loss in LOSSES] == [False] * 2 + [True] * 3


def test_the_chance_of_a_random_direction_is_its_scatter() -> None:
    rng, n = np.random.default_rng(1), 300
    values = rng.standard_normal(n) ** 3
    lengths = [np.linalg.norm(values * (u / np.linalg.norm(u))) for u in rng.standard_normal((400, n))]
    rms = np.sqrt(np.mean(values**2))
    assert module._chance(values, np.full(n, 1.0 / n), n) == pytest.approx(np.std(lengths) / rms, rel=0.15)


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_draws_have_the_measured_gauss_newton_part(case: Case) -> None:
    """RE draws H afresh; what is left when that is taken off is the network's own G."""
    operator = HessianOperator(*case.problem, "logistic", backend=NUMPY)
    found = gradients(*case.problem, "logistic", NUMPY)
    args = (case.network, case.weights, case.x, operator.c)
    both = ensemble_of("RE", *args, NUMPY, curvature=found.curvature).draw(0, 3).dense()
    bare = ensemble_of("RE", *args, NUMPY, curvature=np.zeros_like(found.curvature)).draw(0, 3).dense()
    g = dense(case, "gauss_newton", "logistic")
    assert np.abs(both - bare - g).max() < 1e-12 * np.abs(both).max()
    assert np.abs(bare - dense(case, "residual", "logistic")).max() > 0.01 * np.abs(bare).max()


def exact_record(matrix: Array, law: SpectralDensity) -> dict[str, Any]:
    """What a record would have of a spectrum that is known: from all eigenvalues, and Lanczos coefficients beside."""
    values = np.linalg.eigvalsh(matrix)
    rms = float(np.sqrt(np.mean(values**2))) or 1.0
    grid, scaled = spectral_grid(ETA), values / rms

    def transform(z: Array) -> Array:
        return np.asarray(np.mean(1.0 / (scaled - z[..., None]), axis=-1))

    return {
        "rms": rms, "energies": grid.tolist(), "density": (transform(grid + 1j * ETA).imag / np.pi).tolist(),
        "bulk": {side: log_density(transform, sign).tolist() for side, sign in SIDES.items()},
        "alpha": law.alpha, "beta": law.beta, "l1_standard_error": 0.01,
    }  # fmt: skip


def test_sums_know_what_they_are_made_of() -> None:
    """H = 0: the sum is G. Two matrices of which one is turned: the free sum beats either part."""
    rng, n, m = np.random.default_rng(2), 200, 33
    h = rng.standard_normal((n, n))
    h = (h + h.T) / np.sqrt(2 * n)
    jacobian = rng.standard_normal((m, n))
    law = gram_spectrum(jacobian @ jacobian.T, np.full(m, 2.0 / n), n)
    g = jacobian.T @ jacobian * 2.0 / n
    residual = exact_record(h, spectral_density(h, 30, 60, 0))
    made = describe_sums(exact_record(h + g, exact_law(np.eye(2))), residual, law, ETA, n)
    assert made["free"]["l1"] < 0.08
    assert made["H"]["l1"] > 2 * made["free"]["l1"]
    assert made["G"]["l1"] > 10 * made["free"]["l1"]
    assert made["free"]["log_distance"] < 0.6 * made["H"]["log_distance"]
    zero = exact_record(np.zeros((n, n)), exact_law(np.zeros((2, 2))))
    alone = describe_sums(exact_record(g, exact_law(np.eye(2))), zero, law, ETA, n)
    assert alone["free"]["density"] == pytest.approx(alone["G"]["density"], abs=1e-6)
    assert alone["G"]["l1"] == pytest.approx(0.0, abs=1e-9)
    assert alone["G"]["l1_standard_error"] == 0.01
    assert alone["free"]["l1_standard_error"] == pytest.approx(0.01)

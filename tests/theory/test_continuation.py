"""Laws between the points where they are solved, against laws that are known everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends import get_backend
from simulator import HessianOperator, mlp, spectral_density
from theory import Continuation, ConvergenceError, semicircle
from validation import predict_spectrum
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.record import ACCURACY, density_of, predict_signals, solve_density
from validation.statistics.distances import energy_grid, l1_distance, trapezoid_weights

GRID = energy_grid()


def atoms(places: np.ndarray, zero: float) -> object:
    """A symmetric law of equal atoms at ±places beside the share `zero` at 0."""
    lam, mass = np.concatenate([-places, places]), (1.0 - zero) / (2.0 * len(places))

    def law(z: np.ndarray) -> np.ndarray:
        return -zero / z + mass * np.sum(1.0 / (lam - np.asarray(z)[..., None]), axis=-1)

    return law


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 8.0), min_size=1, max_size=12), st.floats(0.0, 0.95), st.sampled_from([1e-9, 1.0, 1e6]))
@example([6.0, 7.0, 8.0, 6.5, 6.75], 0.0, 1.0)  # the density bends between few energies only, near 1 rms
@example([5.98, 5.38, 5.7, 4.92, 4.83, 4.74], 0.3, 1.0)
def test_densities_of_atoms_are_right_to_the_error_that_is_said_and_never_negative(
    places: list[float], zero: float, scale: float
) -> None:
    """Far sharper than a law of random matrices: single eigenvalues, apart by any number of η."""
    law = atoms(np.array(places), zero)
    rms = float(np.sqrt((1.0 - zero) * np.mean(np.square(places))))
    known = Continuation(lambda z: law(z / scale) / scale, scale * rms)
    error = solve_density(known, GRID, 0.05)
    exact = law(rms * (GRID + 0.05j)).imag / np.pi * rms
    found = density_of(known, GRID, 0.05)
    assert found.min() > 0.0
    assert l1_distance(GRID, exact, found) <= max(error, ACCURACY) < 2e-3


def test_few_points_do_for_a_smooth_law_and_every_one_on_demand() -> None:
    half = GRID[GRID >= 0.0]
    asked = []

    def law(z: np.ndarray) -> np.ndarray:
        asked.append(z.size)
        return semicircle(z, 1.0)

    known = Continuation(law, 1.0)
    assert solve_density(known, GRID, 0.05) <= ACCURACY
    assert sum(asked) < 60
    assert known.refine(half + 0.05j, trapezoid_weights(half), 0.0) == 0.0
    assert sum(asked) == len(half) + 10  # those far above hold the function at infinity
    assert np.array_equal(known(half + 0.05j), semicircle(half + 0.05j, 1.0))


def test_continued_values_keep_the_bounds_of_a_positive_harmonic_function() -> None:
    """Values that belong to no law: what lies between them is held where Harnack's inequality allows it."""
    rng = np.random.default_rng(0)
    known = Continuation(lambda z: semicircle(z, 1.0) * rng.uniform(0.97, 1.03, z.shape), 1.0)
    solve_density(known, GRID, 0.05, limit=40)
    assert density_of(known, np.linspace(-4, 4, 999), 0.05).min() > 0.0


def test_a_law_without_density_is_named() -> None:
    known = Continuation(lambda z: np.full(z.shape, np.nan + 0j), 1.0)
    with pytest.raises(ConvergenceError, match="expected Im g > 0"):
        known.solve(np.array([1.0 + 1j]))
    with pytest.raises(ValueError, match="rms is 0"):
        Continuation(lambda z: -1.0 / z, 0.0)


@pytest.mark.parametrize(("widths", "m"), [((4, 8, 1), 20), ((64, 2, 1), 50), ((16, 40, 1), 60), ((8, 12, 12, 1), 20)])
@pytest.mark.parametrize("seed", [1, 10, 13])
def test_what_a_report_says_between_points_is_what_the_equations_say(
    widths: tuple[int, ...], m: int, seed: int
) -> None:
    """Two layers have single eigenvalues, narrow ones few of them, which few points would step over: within 1e-3."""
    rng, network = np.random.default_rng(seed + 5), mlp(list(widths))
    x, y, weights = rng.standard_normal((m, widths[0])), rng.choice([-1.0, 1.0], m), network.init(seed)
    operator = HessianOperator(network, weights, x, y)
    spectrum = describe_spectrum(spectral_density(operator, 4, 30), 0.05, rng)
    record = {"epoch": 1, "spectrum": spectrum, "predictions": {}, "left_out": {}, "fresh": False}
    predict_signals(
        record, network, weights, x, operator.c, rms=spectrum["rms"], eta=0.05, budget=60.0, examples=None, seed=0,
        backend=get_backend(),
    )  # fmt: skip
    grid, rms = np.array(spectrum["energies"]), spectrum["rms"]
    for rung in ("R5", "R6"):
        found = np.array(record["predictions"][rung]["density"])
        solved = predict_spectrum(network, x, operator.c, rms * (grid + 0.05j), rung, weights).imag / np.pi * rms
        assert l1_distance(grid, solved, found) < 1e-3
        assert found.min() > 0.0

"""The sampled rungs against dense eigenvalues of draws and of networks; their errors; a run that was stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from simulator import Ensemble, EnsembleDensity, EnsembleLanczos, HessianOperator, mlp, spectral_density, train
from support.cases import DENSE, IMAGES, Array, he_weights
from validation import ensemble_density, predict_spectrum
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.rung import SAMPLED_RUNGS
from validation.predictions.sampled import describe_sampled, ensemble_of
from validation.statistics.distances import energy_grid, l1_distance

ETA = 0.05
NETWORK = mlp([12, 16, 14, 1])


def problem(seed: int = 0) -> tuple[list[Array], Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((30, 12)), rng.choice([-1.0, 1.0], 30)
    weights = he_weights(NETWORK, seed)
    return weights, x, y, HessianOperator(NETWORK, weights, x, y).c


def smoothed(eigenvalues: Array, scale: float) -> Array:
    z = scale * (energy_grid() + 1j * ETA)
    density: Array = np.mean(1.0 / (eigenvalues[:, None] - z), axis=0).imag / np.pi * scale
    return density


@pytest.mark.parametrize("rung", list(SAMPLED_RUNGS))
def test_a_rung_is_the_mean_over_its_draws(rung: str) -> None:
    """Lanczos to its end with many probes, against all eigenvalues of the same draws."""
    weights, x, _, c = problem()
    drawn = ensemble_density(NETWORK, weights, x, c, rung=rung, draws=3, n_probes=16, n_steps=120, seed=4)
    run = EnsembleLanczos(ensemble_of(rung, NETWORK, weights, x, c, None), 3, 1, 1, 4)
    ensemble = ensemble_of(rung, NETWORK, weights, x, c, None)
    values = np.concatenate([np.linalg.eigvalsh(ensemble.draw(k, run._root).dense()) for k in range(3)])
    rms = float(np.sqrt(np.mean(values**2)))
    density, error = drawn.terminated_density(energy_grid() * rms, ETA * rms)
    assert drawn.nodes.shape == (48, 120)
    assert drawn.rms == pytest.approx(rms, rel=0.04)
    assert l1_distance(energy_grid(), smoothed(values, rms), density * rms) < 0.04
    assert np.all(error > 0)


@pytest.mark.parametrize("rung", ["RE", "REp", "RK"])
@pytest.mark.parametrize("epochs", [0, 6])
def test_networks_are_near_their_ensembles(rung: str, epochs: int) -> None:
    """Mean densities over networks of 16 neurons, fresh and trained; R0, the semicircle, is 1.2 off."""
    own, drawn = [], []
    for seed in range(4):
        weights, x, y, _ = problem(seed)
        if epochs:
            weights = train(NETWORK, weights, x, y, epochs=epochs, batch_size=10, learning_rate=0.02).weights
        operator = HessianOperator(NETWORK, weights, x, y)
        values = np.linalg.eigvalsh(operator.dense())
        rms = float(np.sqrt(np.mean(values**2)))
        own.append(smoothed(values, rms))
        law = ensemble_density(NETWORK, weights, x, operator.c, rung=rung, draws=4, n_probes=2, n_steps=100, seed=seed)
        drawn.append(law.terminated_density(energy_grid() * rms, ETA * rms)[0] * rms)
    assert l1_distance(energy_grid(), np.mean(own, axis=0), np.mean(drawn, axis=0)) < (0.13 if rung == "RK" else 0.06)


def test_directions_bring_back_what_fresh_weights_miss() -> None:
    """A planted outlier of rank one along the signals: RE is far from it, RE given one direction of them has it."""
    rng = np.random.default_rng(0)
    network = mlp([10, 40, 40, 40, 1])
    weights = he_weights(network, 1)
    x, c = rng.standard_normal((30, 10)), np.full(30, 1 / 30)
    for layer in (1, 2):
        weights[layer] += 0.15  # the mean activation is carried on, and grows
    operator = HessianOperator(network, weights, x, None, c=c)
    top = float(spectral_density(operator, 1, 60).nodes.max())

    def largest(directions: int) -> float:
        drawn = ensemble_density(network, weights, x, c, draws=2, n_probes=1, n_steps=40, directions=directions)
        return float(np.mean(drawn.nodes.max(axis=1)))

    assert largest(0) < 0.7 * top
    assert largest(1) == pytest.approx(top, rel=0.1)


def test_every_loss_and_the_gauss_newton_part() -> None:
    """Residual part by draws, G exactly: at L = 2 the whole is the full Hessian."""
    network = mlp([6, 5, 1])
    rng = np.random.default_rng(1)
    weights, x, y = he_weights(network, 0), rng.standard_normal((12, 6)), rng.choice([-1.0, 1.0], 12)
    for loss in ("hinge", "logistic", "squared"):
        full = HessianOperator(network, weights, x, y, loss)
        margins = y * (np.maximum(x @ weights[0], 0) @ weights[1])[:, 0]
        slopes = {"hinge": 0 * margins, "logistic": 0.25 / np.cosh(margins / 2) ** 2, "squared": np.ones(12)}
        drawn = ensemble_density(
            network, weights, x, full.c, curvature=slopes[loss] / 12, draws=1, n_probes=2, n_steps=35, seed=3
        )
        ends = np.linalg.eigvalsh(full.dense())[[0, -1]]
        assert_allclose([drawn.nodes.min(), drawn.nodes.max()], ends, rtol=1e-9, atol=1e-12)


def test_standard_errors_are_those_of_repeats() -> None:
    """Of densities over 40 runs with other seeds, draws and probes together."""
    weights, x, _, c = problem()
    ensemble = Ensemble(NETWORK, weights, x, c, backend="numpy")
    energies, values, errors = np.array([0.0, 0.1, 0.5]), [], []
    for seed in range(40):
        run = EnsembleLanczos(ensemble, 4, 2, 40, seed)
        while run.advance():
            pass
        found = run.result()
        value, error = found.terminated_density(energies * 0.05, 0.005)
        values.append(value)
        errors.append(error)
    ratio = np.std(values, axis=0, ddof=1) / np.sqrt(np.mean(np.square(errors), axis=0))
    assert np.all((ratio > 0.5) & (ratio < 1.5))


def test_one_draw_tells_no_error() -> None:
    weights, x, _, c = problem()
    drawn = ensemble_density(NETWORK, weights, x, c, draws=1, n_probes=3, n_steps=20)
    assert np.isnan(drawn.terminated_density(0.0, 0.01)[1])


@pytest.mark.parametrize("rung", ["RE", "RK"])
@pytest.mark.parametrize("stop", [0, 3, 11, 25, 38])
def test_a_run_goes_on_inside_a_draw(rung: str, stop: int) -> None:
    weights, x, _, c = problem()

    def begin() -> EnsembleLanczos:
        return EnsembleLanczos(ensemble_of(rung, NETWORK, weights, x, c, "numpy"), 3, 2, 12, seed=5)

    def finish(run: EnsembleLanczos) -> EnsembleDensity:
        while run.advance():
            pass
        assert run.finished
        return run.result()

    stopped, again = begin(), begin()
    for _ in range(stop):
        stopped.advance()
    again.restore({name: np.array(value) for name, value in stopped.state().items()})
    assert again.draw == stopped.draw
    first, second = finish(begin()), finish(again)
    assert_array_equal(first.alpha, second.alpha)
    assert_array_equal(first.beta, second.beta)
    assert first.precision == second.precision


def test_a_state_of_another_run_is_refused() -> None:
    weights, x, _, c = problem()
    ensemble = ensemble_of("RE", NETWORK, weights, x, c, "numpy")
    run = EnsembleLanczos(ensemble, 2, 1, 8)
    with pytest.raises(ValueError, match="no draw is done"):
        run.result()
    for _ in range(12):
        run.advance()
    for other in ((3, 1, 8), (2, 2, 8), (2, 1, 9)):
        with pytest.raises(ValueError, match="not of a run"):
            EnsembleLanczos(ensemble, *other).restore(run.state())


def test_the_record_of_a_rung() -> None:
    weights, x, y, c = problem()
    operator, n = HessianOperator(NETWORK, weights, x, y), NETWORK.n_weights
    eigenvalues = np.linalg.eigvalsh(operator.dense())
    spectrum = describe_spectrum(spectral_density(operator, 4, 200, 0), ETA, np.random.default_rng(0))
    drawn = ensemble_density(NETWORK, weights, x, c, draws=4, n_probes=2, n_steps=200)
    made = describe_sampled(spectrum, drawn, ETA, n)
    assert 0 < made["l1"] < 0.15
    assert 0 < made["l1_standard_error"] < 0.1
    assert made["rms"]["value"] == pytest.approx(1.0, abs=0.1 + 3 * made["rms"]["standard_error"])
    assert made["l1"] < made["l1_fine"] < 0.4
    assert made["log_distance"] < 0.3
    for side, sign in (("negative", -1), ("positive", 1)):
        ordered = np.sort(sign * eigenvalues)[::-1] / spectrum["rms"]
        found = np.array([one["value"] for one in spectrum["largest"][side]])
        assert_allclose(found, ordered[:5], rtol=1e-6)
        assert_allclose([one["value"] for one in made["tails"]["largest"][side]], ordered[:5], rtol=0.4)
        for count, threshold in zip(made["tails"][side], made["tails"]["thresholds"], strict=True):
            expected = np.sum(ordered > threshold)
            assert abs(count["value"] - expected) <= 6 * count["standard_error"] + 4


def test_the_error_of_l1_is_what_equal_laws_show() -> None:
    """Planted: the measured operator *is* a draw. Mean L1 over mean standard error, two draws of one probe."""
    found = []
    for seed in range(14):
        weights, x, _, c = problem(seed)
        ensemble = Ensemble(NETWORK, weights, x, c, backend="numpy")
        planted = ensemble.draw(99, seed)
        spectrum = describe_spectrum(spectral_density(planted, 4, 60, seed), ETA, np.random.default_rng(0))
        run = EnsembleLanczos(ensemble, 2, 1, 60, seed)
        while run.advance():
            pass
        made = describe_sampled(spectrum, run.result(), ETA, NETWORK.n_weights)
        found.append((made["l1"], made["l1_standard_error"]))
    l1, error = np.mean(found, axis=0)
    assert 0.5 < l1 / error < 1.6


def test_the_zero_hessian_has_a_zero_ensemble() -> None:
    weights, x, _, _ = problem()
    for rung in SAMPLED_RUNGS:
        drawn = ensemble_density(NETWORK, weights, x, np.zeros(30), rung=rung, draws=2, n_steps=5)
        assert drawn.rms == 0.0


@pytest.mark.parametrize("case", [DENSE[4], IMAGES[5]], ids=str)
def test_stieltjes_of_a_prediction(case: Any) -> None:
    c = np.random.default_rng(0).standard_normal(case.examples)
    z = np.array([[0.1, -0.4], [0.0, 2.0]]) + 0.2j
    g = predict_spectrum(case.network, case.x, c, z, "RK", case.weights, seed=2, draws=2)
    law = ensemble_density(case.network, case.weights, case.x, c, rung="RK", draws=2, seed=2)
    assert_allclose(g, law.terminated_stieltjes(z).mean(axis=-1), rtol=1e-12)
    assert g.shape == z.shape
    assert np.all(g.imag > 0)


def test_what_is_refused() -> None:
    weights, x, _, c = problem()
    with pytest.raises(ValueError, match="'R5' draws from no ensemble"):
        ensemble_density(NETWORK, weights, x, c, rung="R5")
    with pytest.raises(ValueError, match="needs the network's weights"):
        predict_spectrum(NETWORK, x, c, 1j, "RE")
    for name, value in (("draws", 0), ("n_probes", 0), ("n_steps", 1.5)):
        with pytest.raises(ValueError, match=name):
            ensemble_density(NETWORK, weights, x, c, **{name: value})


def test_the_equation_solved_for_drawn_signals_is_their_mean_spectrum() -> None:
    """RK6 against all eigenvalues of many draws of RK: two ways to one law."""
    weights, x, _, c = problem()
    ensemble = ensemble_of("RK", NETWORK, weights, x, c, None)
    values = np.concatenate([np.linalg.eigvalsh(ensemble.draw(k, 8).dense()) for k in range(24)])
    rms = float(np.sqrt(np.mean(values**2)))
    solved = predict_spectrum(NETWORK, x, c, rms * (energy_grid() + 1j * ETA), "RK6", weights, seed=3)
    assert l1_distance(energy_grid(), smoothed(values, rms), solved.imag / np.pi * rms) < 0.06

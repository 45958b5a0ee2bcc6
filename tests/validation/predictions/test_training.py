"""Training predicted before it begins: against a network that is linear in its weights, trained by the same code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from backends import get_backend
from simulator import (
    FreshNetworks,
    HessianOperator,
    Network,
    TrainingDivergedError,
    evaluate,
    fresh_weights,
    mlp,
    order_parameter,
    output,
    tangent_kernel,
    train,
    train_epochs,
)
from simulator.streams import Streams
from support.cases import CASES, LOSSES, Array, Case, he_weights
from theory import infinite_width_kernel
from validation import fresh_density, predict_spectrum, predict_training
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.forecast import Forecast, motions
from validation.predictions.fresh import describe_fresh
from validation.predictions.linearised import (
    Linearised,
    Motion,
    linearised_epochs,
    linearised_networks,
    reader,
)
from validation.predictions.training import schedule_of

SCHEDULE: dict[str, Any] = {"batch_size": 4, "momentum": 0.9, "seed": 3}


def linear_network(case: Case) -> tuple[Network, list[Array], Array]:
    """T_0 + J (w - w_0) as a network of one layer: J w_0 = L T_0 by homogeneity, so weights w_0/L give T_0 exactly."""
    jacobian = case.oracle().jacobian(case.theta)
    return mlp([case.theta.size, 1]), [case.theta[:, None] / case.network.depth], jacobian


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", [CASES[2], CASES[5], CASES[7], CASES[-3]], ids=str)
def test_equals_a_linear_network_that_is_trained(case: Case, loss: str) -> None:
    network, weights, jacobian = linear_network(case)
    settings = {**SCHEDULE, "learning_rate": 0.002, "loss": loss}
    law = predict_training(case.network, case.x, case.y, epochs=4, weights=case.weights, x_test=case.x[:2], **settings)
    assert law.outputs.shape == (5, 1, case.examples)
    states = [(0, weights)] + [
        (s.epoch, s.weights) for s in train_epochs(network, weights, jacobian, case.y, epochs=4, **settings)
    ]
    scale = np.abs(law.outputs).max()
    for epoch, w in states:
        found = evaluate(network, w, jacobian, case.y, loss)
        assert_allclose(law.outputs[epoch, 0], output(network, w, jacobian), atol=1e-12 * scale)
        assert_allclose(law.test_outputs[epoch, 0], law.outputs[epoch, 0, :2], atol=1e-12 * scale)
        assert law.risk[epoch, 0] == pytest.approx(found.risk, rel=1e-11, abs=1e-13)
        assert law.accuracy[epoch, 0] == found.accuracy
        assert law.active[epoch, 0] == round(found.active_fraction * case.examples)
        assert law.order_parameter[epoch, 0] == pytest.approx(found.order_parameter, rel=1e-10, abs=1e-15)


def test_epoch_0_is_the_network_itself() -> None:
    """c^T K c at the start is the measured ||∇R||², and c that of the Hessian."""
    case = CASES[3]
    law = predict_training(case.network, case.x, case.y, epochs=0, batch_size=3, learning_rate=0.1,
                           weights=case.weights)  # fmt: skip
    assert law.order_parameter[0, 0] == pytest.approx(order_parameter(*case.problem), rel=1e-12)
    assert_allclose(law.c[0, 0], HessianOperator(*case.problem).c, rtol=1e-12)


def test_one_step_is_right_to_second_order() -> None:
    """The linearised step differs from the true one by the square of the rate."""
    case = CASES[3]
    errors = []
    for rate in (1e-4, 1e-5):
        settings: dict[str, Any] = {"epochs": 1, "batch_size": case.examples, "learning_rate": rate, "loss": "squared"}
        law = predict_training(case.network, case.x, case.y, weights=case.weights, **settings)
        moved = train(*case.problem, **settings).weights
        errors.append(np.abs(law.outputs[1, 0] - output(case.network, moved, case.x)).max())
    assert errors[1] < 0.02 * errors[0]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("case", [CASES[2], CASES[7]], ids=str)
def test_kernels_read_at_every_step_are_training_itself(case: Case, momentum: float) -> None:
    """Full batches: every step is linear about the weights at which it begins, and goes on with their velocity."""
    settings: dict[str, Any] = {
        "batch_size": case.examples, "learning_rate": 0.01, "momentum": momentum, "loss": "logistic", "seed": 1,
    }  # fmt: skip
    law = predict_training(case.network, case.x, case.y, epochs=5, weights=case.weights, reads=range(1, 6), **settings)
    still = predict_training(case.network, case.x, case.y, epochs=5, weights=case.weights, **settings)
    for state in train_epochs(*case.problem, epochs=5, **settings):
        t = output(case.network, state.weights, case.x)
        assert_allclose(law.outputs[state.epoch, 0], t, atol=1e-12 * np.abs(t).max())
    assert np.abs(still.outputs[5, 0] - t).max() > 1e-4 * np.abs(t).max()


def test_kernels_read_again_follow_a_narrow_network() -> None:
    """Which moves its kernel; what is left is a fraction of the error without."""
    x, y = problem(40)
    network = mlp([6, 16, 16, 1])
    weights = he_weights(network, 0)
    settings: dict[str, Any] = {"epochs": 12, "batch_size": 8, "learning_rate": 0.02, "momentum": 0.5, "seed": 2}
    last = output(network, train(network, weights, x, y, **settings).weights, x)
    off = [
        float(
            np.abs(predict_training(network, x, y, weights=weights, reads=r, **settings).outputs[12, 0] - last).mean()
        )
        for r in ((), range(1, 13))
    ]
    assert off[1] < 0.5 * off[0]


def test_the_weights_of_moved_networks_are_found_again() -> None:
    """A forecast keeps u between records; the weights that it leads to give the outputs that were predicted."""
    network, (x, y) = mlp([6, 20, 1]), problem()
    schedule = schedule_of(0.05, 4, 8, 0.9, "hinge", 5)
    law = linearised_networks(network, x, [fresh_weights(network, Streams(5), k) for k in range(2)])
    kept, outputs = [], []
    again = reader(network, x)

    def read(before: Linearised, motion: Motion) -> Linearised:
        kept.append(motion)
        return again(before, motion)

    for now, motion in linearised_epochs(law, y, schedule, (2, 4), read):
        outputs.append(now.outputs(motion))
    columns = {"reads": np.array([2, 4]), **motions(kept)}
    forecast = Forecast(np.array([0, 2, 4]), {f"R7m/{name}": values for name, values in columns.items()})
    for epoch in (0, 2, 4):
        for k in range(2):
            weights = forecast.weights("R7m", epoch, network, k, x, 5, None)
            assert_allclose(output(network, weights, x), outputs[epoch][k], atol=1e-12)


def test_steps_that_the_dtype_does_not_hold() -> None:
    """Steps of 1e-300 leave float32 weights where they are; steps beyond every bound are a divergence, said so."""
    network, (x, y) = mlp([6, 20, 1]), problem()
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "seed": 1, "reads": [1, 2]}
    ops = get_backend("numpy", dtype="float32")
    law = predict_training(network, x, y, learning_rate=1e-300, loss="squared", backend=ops, **settings)
    assert_array_equal(law.outputs[3], law.outputs[0])
    for rate in (1e3, 1e12, 1e25, 1e300):
        with pytest.raises(TrainingDivergedError):
            predict_training(network, x, y, learning_rate=rate, loss="squared", backend=ops, **settings)


def test_a_network_whose_coefficients_vanish_beside_others() -> None:
    """Its Hessian is 0 in float32; where all vanish, the spectrum would be lost and is refused."""
    network, (x, y) = mlp([6, 20, 1]), problem()
    c = np.stack([y, y * 1e-60])
    ops = get_backend("numpy", dtype="float32")
    networks = FreshNetworks(network, x, c, backend=ops)
    assert networks.draw(0).dense().any()
    assert not networks.draw(1).dense().any()
    with pytest.raises(ValueError, match="float32"):
        FreshNetworks(network, x, c * 1e-60, backend=ops)


def problem(m: int = 24, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, 6)), rng.choice([-1.0, 1.0], m)


def test_fresh_networks_are_those_of_the_seed() -> None:
    network, (x, y) = mlp([6, 20, 1]), problem()
    law = predict_training(network, x, y, epochs=2, batch_size=8, learning_rate=0.05, networks=3, seed=5)
    for k in range(3):
        weights = fresh_weights(network, Streams(5), k)
        one = predict_training(network, x, y, epochs=2, batch_size=8, learning_rate=0.05, weights=weights, seed=5)
        assert_allclose(law.outputs[:, k], one.outputs[:, 0], atol=1e-12)
        own = HessianOperator(network, weights, x, None, c=law.c[2, k]).dense()
        assert_array_equal(FreshNetworks(network, x, law.c[2], seed=5).draw(k).dense(), own)


def test_rates_by_epoch() -> None:
    network, (x, y) = mlp([6, 20, 1]), problem()
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "seed": 1}
    constant, listed, dropped = (
        predict_training(network, x, y, learning_rate=rate, **settings).risk
        for rate in (0.05, [0.05] * 3, [0.05, 0.05, 0.001])
    )
    assert_array_equal(constant, listed)
    assert_array_equal(constant[:3], dropped[:3])
    assert np.all(constant[3] != dropped[3])
    with pytest.raises(ValueError, match="learning_rate has 2 numbers"):
        predict_training(network, x, y, learning_rate=[0.1, 0.1], **settings)


def test_infinite_width_is_the_limit() -> None:
    """K and the covariance of T_0 over wide networks, within three standard errors or the next order in 1/n."""
    widths, (x, _) = [6, 300, 300, 1], problem(5)
    network = mlp(widths)
    kernel, covariance = infinite_width_kernel(x, widths, [2 / 6, 2 / 300, 1 / 300])
    drawn = [he_weights(network, seed) for seed in range(60)]
    kernels = np.stack([tangent_kernel(network, w, x) for w in drawn])
    outputs = np.stack([output(network, w, x) for w in drawn])
    error = kernels.std(axis=0) / np.sqrt(len(drawn))
    assert np.all(np.abs(kernels.mean(axis=0) - kernel) < 4 * error + kernel / 300)
    squares = outputs[:, :, None] * outputs[:, None, :]
    assert np.all(np.abs(squares.mean(axis=0) - covariance) < 4 * squares.std(axis=0) / np.sqrt(len(drawn)))


def test_the_wide_law_is_near_wide_networks() -> None:
    """Mean risk after training, of the limit and of networks of 400 neurons: 64 draws of each."""
    network, (x, y) = mlp([6, 400, 1]), problem()
    settings: dict[str, Any] = {"epochs": 5, "batch_size": 8, "learning_rate": 0.002, "networks": 64}
    wide, finite = (predict_training(network, x, y, wide=wide, **settings).risk[5] for wide in (True, False))
    assert abs(wide.mean() - finite.mean()) < 3 * np.hypot(wide.std(), finite.std()) / 8
    assert 0.5 < wide.std() / finite.std() < 2.0


def test_a_wide_network_follows_its_prediction() -> None:
    """From its own T_0 and K; the error falls with the width."""
    x, y = problem(40)
    off = []
    for width in (32, 2048):
        network = mlp([6, width, 1])
        weights = he_weights(network, 0)
        # A rate in proportion to 1/width: the kernel grows with the width.
        settings: dict[str, Any] = {"epochs": 10, "batch_size": 8, "learning_rate": 0.5 / width, "seed": 2}
        law = predict_training(network, x, y, weights=weights, **settings)
        last = train(network, weights, x, y, **settings).weights
        off.append(float(np.abs(law.outputs[10, 0] - output(network, last, x)).mean()))
    assert off[1] < 0.25 * off[0]


def test_the_spectrum_of_r7_is_that_of_the_fresh_networks() -> None:
    network, (x, y) = mlp([6, 12, 10, 1]), problem()
    law = predict_training(network, x, y, epochs=2, batch_size=8, learning_rate=0.05, networks=3)
    drawn = fresh_density(network, x, law.c[1], n_probes=16, n_steps=80)
    values = np.concatenate([FreshNetworks(network, x, law.c[1]).draw(k).dense() for k in range(3)])
    rms = float(np.sqrt(np.mean([np.mean(np.linalg.eigvalsh(h) ** 2) for h in np.split(values, 3)])))
    assert drawn.draws == 3
    assert drawn.rms == pytest.approx(rms, rel=0.05)
    z = rms * (np.linspace(-3, 3, 7) + 0.3j)
    expected = np.mean([np.mean(1 / (np.linalg.eigvalsh(h)[:, None] - z), axis=0) for h in np.split(values, 3)], axis=0)
    assert np.abs(predict_spectrum(network, x, law.c[1], z, "R7") - expected).max() < 0.1 * np.abs(expected).max()


def test_a_record_says_what_single_networks_differ_by() -> None:
    network, (x, y) = mlp([6, 12, 10, 1]), problem()
    c = predict_training(network, x, y, epochs=0, batch_size=8, learning_rate=0.05).c[0]
    drawn = fresh_density(network, x, c, n_probes=2, n_steps=60)
    law = describe_spectrum(drawn, 0.05, np.random.default_rng(0), 60)
    made = describe_fresh(law, drawn, 0.05, network.n_weights)
    assert made["l1"] < 1e-10  # the law beside itself
    assert made["l1_shape"] < 1e-10
    assert len(made["l1_of_networks"]) == len(made["rms_of_networks"]) == 4
    assert all(0.005 < off < 0.5 for off in made["l1_of_networks"])
    assert np.sqrt(np.mean(np.square(made["rms_of_networks"]))) == pytest.approx(1.0, rel=1e-12)
    one = describe_fresh(law, fresh_density(network, x, c[:1], n_steps=60), 0.05, network.n_weights)
    assert one["spread"] is None
    assert one["l1_of_networks"] == []


def test_networks_in_which_nothing_is_active() -> None:
    """H = 0: all of the law is at 0."""
    network, (x, _) = mlp([6, 12, 1]), problem()
    law = describe_spectrum(
        fresh_density(network, x, np.ones((2, 24)) / 24, n_steps=40), 0.05, np.random.default_rng(0), 40
    )
    made = describe_fresh(law, fresh_density(network, x, np.zeros((2, 24)), n_steps=40), 0.05, network.n_weights)
    assert made["rms_of_networks"] == [0.0, 0.0]
    assert made["l1"] > 0.3
    assert np.isfinite(made["l1_shape"])


def test_what_cannot_be_predicted_is_refused() -> None:
    network, (x, y) = mlp([6, 12, 1]), problem()
    settings: dict[str, Any] = {"epochs": 30, "batch_size": 24, "learning_rate": 1e3, "loss": "squared"}
    with pytest.raises(TrainingDivergedError, match="diverged in epoch"):
        predict_training(network, x, y, **settings)
    with pytest.raises(ValueError, match=r"c has shape \(24,\): expected \(networks, m\)"):
        fresh_density(network, x, np.ones(24))
    with pytest.raises(ValueError, match="momentum 1"):
        predict_training(network, x, y, **settings | {"momentum": 1.0})
    with pytest.raises(ValueError, match="rung R7m needs networks that have moved"):
        predict_spectrum(network, x, np.ones((2, 24)), 1j, "R7m")
    with pytest.raises(ValueError, match="has no weights to move"):
        predict_training(network, x, y, epochs=2, batch_size=8, learning_rate=0.01, wide=True, reads=(1,))
    case = CASES[6]
    with pytest.raises(ValueError, match="rung R7 treats multilayer perceptrons only"):
        predict_training(case.network, case.x, case.y, epochs=1, batch_size=2, learning_rate=0.1, wide=True)

"""What a user of PyTorch tries first: it works, or one sentence says why not and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse.linalg import eigsh

import validation
from simulator import HessianOperator, evaluate, spectral_density
from support.torch_files import need_torch
from validation import WeightsError, from_torch, load_weights

X = np.random.default_rng(0).standard_normal((60, 6))
Y01 = (X[:, 0] + X[:, 1] > 0).astype(int)
SMALL: dict[str, Any] = {"backend": "numpy", "steps": 6, "probes": 2, "prediction_seconds": 0.001, "epochs": 0}

pytestmark = pytest.mark.usefixtures("plain")


def model(outputs: int = 1) -> Any:
    torch = need_torch()
    torch.manual_seed(0)
    layers = [torch.nn.Linear(a, b, bias=False) for a, b in ((6, 8), (8, 5), (5, outputs))]
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])


def own(module: Any) -> list[Any]:
    return [p.detach().numpy().T for p in module.parameters()]


def check(weights: list[Any], module: Any) -> None:
    for ours, theirs in zip(weights, own(module), strict=True):
        assert_array_equal(ours, theirs)


def hessian() -> HessianOperator:
    network, weights = from_torch(model())
    return HessianOperator(network, weights, X, 2.0 * Y01 - 1.0, backend="numpy")


def test_1_the_whole_module(tmp_path: Path) -> None:
    network, weights = from_torch(model())
    check(weights, model())
    check(load_weights(model(), network), model())
    report = validation.compare(data=(X, Y01), network=network, weights=model(), out=tmp_path / "run", **SMALL)
    risk = evaluate(network, weights, X, 2.0 * Y01 - 1.0, backend="numpy").risk
    assert report.data["epochs"][0]["risk"] == pytest.approx(risk, rel=1e-6)


def test_2_its_parameters() -> None:
    check(load_weights(model().parameters(), from_torch(model())[0]), model())


def test_3_its_state_dictionary() -> None:
    check(load_weights(model().state_dict(), from_torch(model())[0]), model())
    with pytest.raises(
        WeightsError, match=r"an object of type OrderedDict was given, expected a torch\.nn\.Module.*load_weights"
    ):
        from_torch(model().state_dict())


def test_4_a_saved_model(tmp_path: Path) -> None:
    torch, (network, _) = need_torch(), from_torch(model())
    torch.save(model().state_dict(), tmp_path / "state.pt")
    check(load_weights(tmp_path / "state.pt", network), model())
    torch.save(model(), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"save model\.state_dict\(\), or give the model that PyTorch loads to"):
        load_weights(tmp_path / "model.pt", network)
    check(from_torch(torch.load(tmp_path / "model.pt", weights_only=False))[1], model())


def test_5_eigenvalues_by_scipy() -> None:
    h = hessian()
    dense = np.linalg.eigvalsh(h.dense())
    found = np.sort(np.abs(eigsh(h, return_eigenvectors=False)))
    np.testing.assert_allclose(found, np.sort(np.abs(dense))[-6:], rtol=1e-8)


def test_6_the_trace() -> None:
    network, weights = from_torch(model())
    assert hessian().trace() == 0.0  # E2
    bent = HessianOperator(network, weights, X, 2.0 * Y01 - 1.0, loss="logistic", backend="numpy")
    assert bent.trace() == pytest.approx(np.trace(bent.dense()), rel=1e-10)


def test_7_a_training_loop_with_a_penalty() -> None:
    """Gradients of the risk beside a penalty on |w|, as PyTorch has them."""
    torch, module = need_torch(), model().double()
    network, weights = from_torch(module)
    signs = torch.tensor(2.0 * Y01 - 1.0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    spectra = []
    for _ in range(4):
        gradient = evaluate(network, weights, X, 2.0 * Y01 - 1.0, backend="numpy").gradient
        weights = [w - 0.1 * (g + 1e-3 * np.sign(w)) for w, g in zip(weights, gradient, strict=True)]
        optimizer.zero_grad()
        penalty = sum(p.abs().sum() for p in module.parameters())
        (torch.relu(1 - signs * module(torch.from_numpy(X))[:, 0]).mean() + 1e-3 * penalty).backward()
        optimizer.step()
        h = HessianOperator(network, load_weights(module.state_dict(), network), X, 2.0 * Y01 - 1.0, backend="numpy")
        spectra.append(spectral_density(h, n_steps=20).rms)
    for ours, theirs in zip(weights, own(module), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)
    assert len(set(spectra)) == 4


def test_8_the_plot_of_a_spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    ax = spectral_density(hessian(), n_steps=20).plot()
    assert ax.lines[0].get_ydata().max() > 0
    plt.close(ax.figure)


def test_9_labels_0_and_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation.compare(data=(X, Y01), network="mlp:4", out=tmp_path / "run", **SMALL)
    assert "label -1: 0; +1: 1 (of the two label values the smaller is -1)" in capsys.readouterr().out.splitlines()[0]
    network, weights = from_torch(model())
    with pytest.raises(ValueError, match=r"label 0 is not usable: labels are -1 or \+1"):
        HessianOperator(network, weights, X, Y01)


def test_10_ten_outputs() -> None:
    with pytest.raises(WeightsError, match=r"module '4' has 10 outputs, and the theory is that of one output"):
        from_torch(model(10))

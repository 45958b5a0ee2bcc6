"""The command that compares the scales of a network: its measurements against sums done by hand, claims, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, enumerate_circuits, gradient, mlp, network_from_text
from simulator.hessian.entry_pairs import sample_pairs
from validation.errors import OptionError
from validation.measurements import scales as module
from validation.measurements.scales import SCALES, measure_scales
from validation.scales.answer import answer
from validation.scales.cell import network_words
from validation.scales.job import ScalesReport, scales
from validation.scales.page import render, text_table
from validation.scales.summary import summary
from validation.statistics.sizes import SizeLaw, product_law, size_distance, size_law

SMALL: dict[str, Any] = {
    "network": "mlp:6x5", "examples": 60, "measured_examples": 40, "record": (0, 2), "circuits": 500, "entries": 120,
    "first": 20, "steps": 20, "backend": "numpy",
}  # fmt: skip
SIZES: dict[str, Any] = {"loss": "hinge", "circuits": 4000, "entries": 300, "first": 30, "probes": 4, "steps": 40}


def problem(seed: int = 0) -> tuple[Any, list[Any], Any, Any]:
    rng = np.random.default_rng(seed)
    network = mlp([5, 6, 4, 1])
    x, y = rng.normal(size=(30, 5)), np.where(rng.random(30) < 0.5, -1.0, 1.0)
    return network, network.init(seed), x, y


def quantiles(values: Any) -> Any:
    law = size_law(values)
    assert isinstance(law, SizeLaw)
    return law.quantiles


def test_every_scale_is_what_its_definition_says() -> None:
    network, weights, x, y = problem()
    rng = np.random.default_rng(3)
    found = measure_scales(network, weights, x, y, **SIZES, backend=get_backend("numpy"), rng=rng)
    slopes = np.concatenate([g.ravel() for g in gradient(network, weights, x, y, backend="numpy")])
    assert size_distance(found["laws"]["gradient"]["quantiles"], quantiles(slopes)) == 0.0
    dense = HessianOperator(network, weights, x, y, backend="numpy").dense()
    values = np.linalg.eigvalsh(dense)
    values[np.abs(values) < 1e-12] = 0.0
    assert size_distance(found["laws"]["eigenvalues"]["quantiles"], quantiles(values)) < 1e-9
    assert found["laws"]["eigenvalues"]["signed"] == pytest.approx(0.0, abs=1e-9)  # E2: the trace is 0
    pairs = sample_pairs(network, 300, 30, 0)  # every pair of layers, in its share
    entries = quantiles(dense[pairs.first, pairs.second])
    assert size_distance(found["laws"]["hessian"]["quantiles"], entries) < 0.25
    for order in range(3):
        every = enumerate_circuits(network, weights, x, order).values
        assert size_distance(found["laws"][f"circuits {order}"]["quantiles"], quantiles(every)) < 0.1
    assert found["active"] == np.count_nonzero(HessianOperator(network, weights, x, y, backend="numpy").c)


def test_lanczos_and_dense_eigenvalues_have_one_law(monkeypatch: pytest.MonkeyPatch) -> None:
    network, weights, x, y = problem()
    made = {}
    for most in (0, 3000):
        monkeypatch.setattr(module, "DENSE", most)
        rng = np.random.default_rng(3)
        made[most] = measure_scales(
            network, weights, x, y, **(SIZES | {"steps": 78, "probes": 8}), backend=get_backend("numpy"), rng=rng
        )
    exact, nodes = (made[most]["laws"]["eigenvalues"]["quantiles"] for most in (3000, 0))
    assert size_distance(exact, nodes) < 0.2
    assert made[3000]["eigenvalue_error"] == 0.0
    assert made[0]["eigenvalue_error"] >= 0.0


def test_circuits_of_fresh_networks_are_products_of_gaussians() -> None:
    """Open gates say something of the weights: less in a wider network. A narrow one may be dead."""
    rng = np.random.default_rng(0)
    apart = []
    for width in (3, 40):
        network = mlp([8, width, width, width, 1])
        found = [
            measure_scales(
                network, network.init(k), rng.normal(size=(20, 8)), np.sign(rng.normal(size=20)), **SIZES,
                backend=get_backend("numpy"), rng=np.random.default_rng(k),
            )["products"] for k in range(4)
        ]  # fmt: skip
        apart.append(np.mean([products["circuits 1"]["distance"] for products in found if products]))
    assert apart[1] < 0.1 < apart[0]


def test_without_an_active_example_there_is_no_law_but_that_of_the_circuits() -> None:
    network, weights, x, _ = problem()
    weights = [np.abs(w) * 10 for w in weights]
    x = np.abs(x)
    found = measure_scales(network, weights, x, np.ones(len(x)), **SIZES, backend=get_backend("numpy"),
                           rng=np.random.default_rng(0))  # fmt: skip
    assert found["active"] == 0
    assert [name for name, law in found["laws"].items() if law] == ["circuits 0", "circuits 1", "circuits 2"]
    assert found["eigenvalue_error"] is None


def cell(seed: int, laws: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """A made-up network with these laws at epochs 0 and 5."""

    def record(epoch: int, made: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: SizeLaw(q, 1.0, 0.0, 0.0).record() for name, q in made.items()}
        return {"epoch": epoch, "risk": 1.0, "accuracy": 0.5, "active": 3, "laws": kept, "eigenvalue_error": 0.0,
                "products": {"circuits 1": {"distance": 0.01 * seed, "chance": 0.01}}}  # fmt: skip

    return {"seed": seed, "diverged": None, "records": [record(0, laws), record(5, later)]}


def test_claims_decide_planted_laws() -> None:
    alike = dict.fromkeys(SCALES, product_law(2))
    other = alike | {"eigenvalues": product_law(6)}
    verdicts = {c["id"]: c["verdict"] for c in summary([cell(s, alike, alike) for s in range(3)])["checks"]}
    assert set(verdicts.values()) == {"supported"}
    verdicts = {c["id"]: c["verdict"] for c in summary([cell(s, alike, other) for s in range(3)])["checks"]}
    assert verdicts == {"scales.alike": "not supported", "scales.symmetric": "supported",
                        "scales.stable": "not supported", "scales.product": "supported"}  # fmt: skip
    coarse = [cell(s, alike, other) for s in range(3)]
    for made in coarse:
        made["records"][1]["eigenvalue_error"] = 0.5  # as much as the planted difference
    verdicts = {c["id"]: c["verdict"] for c in summary(coarse)["checks"]}
    assert verdicts["scales.alike"] == verdicts["scales.stable"] == "not resolved"
    one = {c["id"]: c["verdict"] for c in summary([cell(0, alike, alike)])["checks"]}
    assert one["scales.alike"] == "not resolved"  # no error from a single network


def test_the_answer_is_made_from_the_numbers() -> None:
    """Laws alike, one that training moves, one whose chance is as large, a single network: the sentence changes."""
    alike = dict.fromkeys(SCALES, product_law(2))
    other = alike | {"eigenvalues": product_law(6)}
    same = answer(summary([cell(s, alike, alike) for s in range(3)]))
    assert "are 0 ± 0 nats apart at epoch 0 (one law: supported); training moves the law of circuits by 0 ± 0" in same
    assert same.endswith("(the same law: supported); symmetry about 0 is supported")
    moved = answer(summary([cell(s, alike, other) for s in range(3)]))
    far = size_distance(product_law(2), product_law(6))
    assert moved == (
        f"The laws of circuits and of eigenvalues of the Hessian are {far:.3g} ± 0 nats apart at epoch 5 (one law: not "
        f"supported); training moves the law of eigenvalues of the Hessian by {far:.3g} ± 0 nats (the same law: not "
        "supported); symmetry about 0 is supported"
    )
    near, wide = (
        summary([cell(s, alike, alike | {"eigenvalues": product_law(k)}) for s, k in enumerate(counts)])
        for counts in ((5, 7), (6, 24))
    )
    null = near["epochs"][1]["null"]["eigenvalues"]
    assert f" nats apart at epoch 5, {null:.2g} by chance (one law: " in answer(near)
    assert "eigenvalues" not in answer(wide)  # networks differ by more than scales do
    assert "(one law: not resolved)" in answer(summary([cell(0, alike, alike)]))
    nothing: dict[str, Any] = dict.fromkeys(SCALES)
    bare = summary([cell(0, alike, alike)])
    bare |= {"epochs": [e | {"distances": []} for e in bare["epochs"]], "through_training": nothing}
    assert answer(bare) == "No laws of two scales could be compared"


@pytest.mark.usefixtures("alone", "plain")
def test_a_run_its_files_and_more_seeds(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = scales(**SMALL, seeds=(0, 1), out=out)
    data = json.loads((out / "scales.json").read_text())
    assert data == run.data
    assert data["kind"] == "scales"
    assert [e["epoch"] for e in data["epochs"]] == [0, 2]
    assert data["cells"][0]["network"] == "64-6-5-1"
    assert "checks: " in repr(run)
    assert "Gaussian factors at epoch" in text_table(data)
    assert f"{run.answer()}." in repr(run)
    assert " ".join(text_table(data).split()).startswith(f"{run.answer()}.")
    begun = render(data, {"scales": b"png"})
    assert begun.index(run.answer()) < begun.index('id="scales"') < begun.index("Verdicts")
    again = scales(**SMALL, seeds=(1, 2), out=out, resume=True)
    assert again.data["cells"][0] == data["cells"][1]
    page = render(again.data, {"scales": b"png"})
    assert "From circuits to eigenvalues" in page
    with pytest.raises(ValueError, match="another run"):
        scales(**SMALL | {"steps": 21}, seeds=(1,), out=out, resume=True)


@pytest.mark.usefixtures("alone", "plain")
def test_a_network_that_diverges_is_left_out_and_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="diverged with every seed"):
        scales(**SMALL | {"learning_rate": 1e200}, seeds=(0,), out=tmp_path / "run")
    lost = {"seed": 7, "diverged": "training diverged", "records": []}
    alike = dict.fromkeys(SCALES, product_law(2))
    data = summary([cell(0, alike, alike), lost])
    assert data["diverged"] == "seed 7 (training diverged)"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"record": (0, -1)}, "--record 0,-1: expected different integers >= 0"),
        ({"seeds": (1, 1)}, "--seeds 1,1: expected different"),
        ({"loss": "huber"}, "--loss 'huber' is unknown"),
        ({"network": "mlp:0"}, "--network 'mlp:0'"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0"),
        ({"entries": 1}, "--entries 1: expected an integer >= 2"),
    ],
)
def test_options_that_no_run_could_use(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words.replace("(", r"\(")):
        scales(**SMALL | options, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_words_of_networks() -> None:
    assert network_words(network_from_text("seq:conv4,pool,dense3", (8, 8, 3))) == "3-4-3-1"
    assert ScalesReport.KIND == "scales"

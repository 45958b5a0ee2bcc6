"""Public functions on odd and bad arguments: the answer for the same numbers or a named error, never another number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import simulator as s
import theory as t
import validation
from backends import get_backend
from support.bad_input import explore, table, verdict
from support.cases import Array

NETWORK = s.mlp([3, 4, 1])
IMAGES = s.sequential((4, 4, 2), [s.Conv(2), s.MaxPool(2), s.Dense(1)])
RNG = np.random.default_rng(0)
# Halves and small whole numbers: every dtype that is tried holds them.
X = RNG.integers(-4, 5, (6, 3)) / 2.0
Y = np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
C = RNG.integers(-4, 5, 6) / 4.0
W1, W2 = RNG.integers(-4, 5, (3, 4)) / 2.0, RNG.integers(1, 5, (4, 1)) / 2.0
PICTURES = RNG.integers(-4, 5, (3, 4, 4, 2)) / 2.0
K1, K2 = RNG.integers(-4, 5, (3, 3, 2, 2)) / 2.0, RNG.integers(1, 5, (8, 1)) / 2.0
V = RNG.integers(-4, 5, (16, 2)) / 2.0
PROFILE = np.array([[1.0, 0.5], [0.5, 2.0]])
Z = np.array([0.5 + 1.0j, -1.0 + 0.5j])
TRAINING = {"epochs": 2, "batch_size": 4, "learning_rate": 0.125}
OBSERVED = [np.array([[1.0], [0.5], [-0.5], [2.0]]), np.array([[1.0], [0.0], [1.0], [1.0]])]
COUPLINGS = np.array([[[0.25]]])


@dataclasses.dataclass(frozen=True)
class Call:
    """A public function with good arguments, those that are arrays of numbers, and those that are labels."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    arrays: tuple[str, ...]
    scalars: tuple[str, ...] = ()


def of_network(function: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    """With the two weight arrays as arguments of their own."""
    return lambda w1, w2, **rest: function(NETWORK, [w1, w2], **rest, **more)


def hessian(w1: Any, w2: Any, v: Any, **rest: Any) -> Any:
    operator = s.HessianOperator(NETWORK, [w1, w2], **rest, backend="numpy")
    return [operator @ v, operator.on_device() @ np.asarray(v)]


WEIGHTS = {"w1": W1, "w2": W2}
DATA = WEIGHTS | {"x": X, "y": Y}
CALLS = {
    "output": Call(of_network(s.output, backend="numpy"), WEIGHTS | {"x": X, "temperature": 0.0}, ("w1", "w2", "x"),
                   ("temperature",)),
    "output numba": Call(of_network(s.output, backend="numba"), WEIGHTS | {"x": X}, ("w1", "w2", "x")),
    "output images": Call(lambda k1, k2, x: s.output(IMAGES, [k1, k2], x, "numpy"),
                          {"k1": K1, "k2": K2, "x": PICTURES}, ("k1", "k2", "x")),
    "output images numba": Call(lambda k1, k2, x: s.output(IMAGES, [k1, k2], x, "numba"),
                                {"k1": K1, "k2": K2, "x": PICTURES}, ("k1", "k2", "x")),
    "risk": Call(of_network(s.risk, backend="numpy"), DATA, ("w1", "w2", "x", "y")),
    "gradient": Call(of_network(s.gradient, backend="numpy"), DATA, ("w1", "w2", "x", "y")),
    "gradient numba": Call(of_network(s.gradient, backend="numba"), DATA, ("w1", "w2", "x", "y")),
    "order_parameter": Call(of_network(s.order_parameter, backend="numpy"), DATA, ("w1", "w2", "x", "y")),
    "HessianOperator": Call(hessian, DATA | {"v": V}, ("w1", "w2", "x", "y", "v")),
    "HessianOperator c": Call(of_network(lambda n, w, x, c: s.HessianOperator(n, w, x, None, c=c).dense()),
                              WEIGHTS | {"x": X, "c": C}, ("w1", "w2", "x", "c")),
    "spectral_density": Call(
        of_network(lambda n, w, x, y, **k: s.spectral_density(s.HessianOperator(n, w, x, y, backend="numpy"), **k)),
        DATA | {"n_probes": 2, "n_steps": 3, "seed": 0}, ("w1", "w2", "x", "y"), ("n_probes", "n_steps", "seed")),
    "train": Call(of_network(s.train, backend="numpy"), DATA | TRAINING | {"momentum": 0.5, "seed": 0},
                  ("w1", "w2", "x", "y"), ("epochs", "batch_size", "learning_rate", "momentum", "seed")),
    "exact_marginal": Call(of_network(s.exact_marginal), WEIGHTS | {"x": X, "temperature": 0.5}, ("w1", "w2", "x"),
                           ("temperature",)),
    "exact_posterior": Call(of_network(s.exact_posterior), DATA | {"temperature": 0.5}, ("w1", "w2", "x", "y"),
                            ("temperature",)),
    "enumerate_circuits": Call(of_network(s.enumerate_circuits), WEIGHTS | {"x": X, "order": 1}, ("w1", "w2", "x"),
                               ("order",)),
    "sample_circuits": Call(of_network(s.sample_circuits), WEIGHTS | {"x": X, "n": 5, "order": 2, "seed": 0},
                            ("w1", "w2", "x"), ("n", "order", "seed")),
    "solve_maxent": Call(lambda x, h, couplings: s.solve_maxent([x, h], couplings).multipliers,
                         {"x": OBSERVED[0], "h": OBSERVED[1], "couplings": COUPLINGS}, ("x", "h", "couplings")),
    "predict_spectrum": Call(
        lambda w1, w2, **k: validation.predict_spectrum(NETWORK, weights=[w1, w2], rung="R2", z=Z, **k),
        WEIGHTS | {"x": X, "c": C, "seed": 0}, ("w1", "w2", "x", "c"), ("seed",)),
    "semicircle": Call(t.semicircle, {"z": Z, "rms": 1.5}, (), ("rms",)),
    "solve_vector_dyson": Call(lambda profile: t.solve_vector_dyson(profile, Z).values, {"profile": PROFILE},
                               ("profile",)),
    "gate_flip_probability": Call(t.gate_flip_probability, {"x": X[0], "a": 1}, ("x",), ("a",)),
    "second_moment": Call(lambda x, variances: t.second_moment([3, 4, 1], variances, x),
                          {"x": X[0], "variances": np.array([0.5, 0.25])}, ("x", "variances")),
    "mean_bracket": Call(t.mean_bracket, {"n": 4, "L": 3, "mu": 0.5, "c": 1.0}, (), ("n", "L", "mu", "c")),
    "second_moment_bracket": Call(t.second_moment_bracket, {"n": 4, "L": 3, "mu": 0.5, "c": 1.0}, (),
                                  ("n", "L", "mu", "c")),
    "init": Call(NETWORK.init, {"seed": 0}, (), ("seed",)),
    "mlp": Call(lambda a, b: s.mlp([a, b, 1]), {"a": 3, "b": 2}, (), ("a", "b")),
    "vgg12": Call(lambda width: s.vgg12(width).n_weights, {"width": 0.0625}, (), ("width",)),
    "Conv": Call(lambda channels, kernel: s.sequential((4, 4, 1), [s.Conv(channels, kernel), s.Dense(1)]),
                 {"channels": 2, "kernel": 3}, (), ("channels", "kernel")),
}  # fmt: skip


def numbers(answer: Any) -> list[Array]:
    """Every number in an answer."""
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return [a for f in dataclasses.fields(answer) for a in numbers(getattr(answer, f.name))]
    if isinstance(answer, Mapping):
        return [a for value in answer.values() for a in numbers(value)]
    if isinstance(answer, (list, tuple)):
        return [a for value in answer for a in numbers(value)]
    if isinstance(answer, (np.ndarray, float, int, complex, np.number)):
        return [np.asarray(answer)]
    return []


def close(answer: Any, right: Any) -> bool:
    a, b = numbers(answer), numbers(right)
    return len(a) == len(b) and all(
        p.shape == q.shape and np.allclose(p, q, rtol=1e-9, atol=1e-12, equal_nan=True)
        for p, q in zip(a, b, strict=True)
    )


ODD: dict[str, Callable[[Array], Any]] = {
    "list": lambda a: a.tolist(),
    "columns first": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), dtype=np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "subclass": lambda a: a.view(type("Other", (np.ndarray,), {})),
}
WHOLE: dict[str, Callable[[Array], Any]] = {
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "bool": lambda a: a.astype(bool),
    "uint8": lambda a: np.abs(a).astype(np.uint8),
}


def put(a: Array, value: Any, dtype: Any = None) -> Array:
    changed = np.array(a, dtype=dtype)
    changed.reshape(-1)[a.size // 2] = value
    return changed


BAD: dict[str, Callable[[Array], Any]] = {
    "NaN": lambda a: put(a, np.nan),
    "infinite": lambda a: put(a, np.inf),
    "minus infinite": lambda a: put(a, -np.inf),
    "NaN float16": lambda a: put(a, np.nan, np.float16),
    "NaN in a list": lambda a: put(a, np.nan).tolist(),
    "empty": lambda a: a[:0],
    "all empty": lambda a: np.zeros((0,) * a.ndim),
    "an axis more": lambda a: a[None],
    "shorter": lambda a: a[..., :-1],
    "longer": lambda a: np.concatenate([a, a[..., :1]], axis=-1),
    "a row less": lambda a: a[:-1],
    "none": lambda a: None,
    "text": lambda a: "text",
    "texts": lambda a: a.astype(str),
    "bytes": lambda a: a.tobytes(),
    "complex": lambda a: a + 0.5j,
    "objects": lambda a: put(a, None, object),
    "object": lambda a: object(),
    "dictionary": lambda a: {"a": a},
    "dates": lambda a: np.abs(2 * a).astype("datetime64[s]"),
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "masked": lambda a: np.ma.masked_array(a, mask=put(np.zeros(a.shape), 1, bool)),
    "records": lambda a: np.zeros(a.shape, dtype=[("a", "f8")]),
    "sparse": lambda a: __import__("scipy.sparse", fromlist=["csr_array"]).csr_array(a.reshape(a.shape[0], -1)),
}
# A row less is another problem of the same kind where nothing else counts the rows.
FREE_ROWS = {
    ("output", "x"), ("output numba", "x"), ("output images", "x"), ("output images numba", "x"),
    ("exact_marginal", "x"), ("enumerate_circuits", "x"), ("sample_circuits", "x"), ("gate_flip_probability", "x"),
}  # fmt: skip
FREE_COLUMNS = {
    ("HessianOperator", "v"), ("gate_flip_probability", "x"), ("solve_maxent", "couplings"),
    ("second_moment", "variances"),
}  # fmt: skip
BATCHED = {("gate_flip_probability", "x"), ("second_moment", "x")}  # another axis is another example
LINEAR = {
    ("HessianOperator", "v")
}  # NaN in, NaN out, as in every product with a matrix; its shapes and kinds are checked by SciPy
BAD_LABELS = [0.0, 2.0, -1.5, 1 + 1e-9, 1e300]
BAD_SCALARS = [None, "text", "1", -1, -0.5, np.nan, np.inf, [], [1, 2], 1j, object(), np.array([1, 2]), b"1"]


def unchanged(arguments: Mapping[str, Any], before: Mapping[str, bytes]) -> bool:
    return all(np.asarray(arguments[name]).tobytes() == data for name, data in before.items())


def array_arguments() -> list[tuple[str, str]]:
    return [(name, argument) for name, call in CALLS.items() for argument in call.arrays]


@pytest.mark.parametrize(("name", "argument"), array_arguments(), ids=lambda v: v)
def test_odd_arrays_are_the_same_numbers(name: str, argument: str) -> None:
    """Any layout, any dtype, read-only: the answer is that for the same numbers in float64, and nothing is changed."""
    call = CALLS[name]
    for kind, make in (ODD | WHOLE).items():
        odd = make(np.array(call.arguments[argument]))
        plain = call.arguments | {argument: np.array(odd, dtype=np.float64)}
        given = call.arguments | {argument: odd}
        if isinstance(odd, np.ndarray):
            odd.flags.writeable = False
        before = {k: np.asarray(v).tobytes() for k, v in given.items() if k in call.arrays}
        try:
            right = call.function(**plain)
        except ValueError:
            verdict(f"odd: {kind}", lambda g=given: call.function(**g), lambda _: False)
            continue
        # A dtype may be refused by name; a layout must not be.
        outcome = verdict(f"odd: {kind}", lambda g=given: call.function(**g), lambda a, r=right: close(a, r))
        assert outcome == "right" or kind in ("long double", "bool"), kind
        assert unchanged(given, before)


@pytest.mark.parametrize(("name", "argument"), array_arguments(), ids=lambda v: v)
def test_bad_arrays_are_refused(name: str, argument: str) -> None:
    call = CALLS[name]
    for kind, make in BAD.items():
        if kind == "a row less" and (name, argument) in FREE_ROWS:
            continue
        if kind in ("shorter", "longer") and (name, argument) in FREE_COLUMNS:
            continue
        if kind == "an axis more" and (name, argument) in BATCHED:
            continue
        if ("NaN" in kind or "infinite" in kind or kind in ("an axis more", "dictionary", "masked")) and (
            name,
            argument,
        ) in LINEAR:
            continue
        bad = make(np.array(call.arguments[argument]))
        given = call.arguments | {argument: bad}
        try:
            outcome = verdict(f"bad: {kind}", lambda g=given: call.function(**g), lambda _: False)
        except Exception as error:
            raise AssertionError(f"{kind}: {type(error).__name__}: {error}") from error
        assert outcome == "refused"


@pytest.mark.parametrize("name", [n for n, call in CALLS.items() if "y" in call.arrays])
def test_wrong_labels_are_refused(name: str) -> None:
    call = CALLS[name]
    for label in BAD_LABELS:
        bad = put(Y, label)
        assert (
            verdict("label", lambda b=bad: call.function(**(call.arguments | {"y": b})), lambda _: False) == "refused"
        )


@pytest.mark.parametrize(
    ("name", "argument"), [(n, a) for n, call in CALLS.items() for a in call.scalars], ids=lambda v: v
)
def test_bad_scalars_are_refused(name: str, argument: str) -> None:
    """A number of the wrong kind is refused; one that is meant after all, such as the index -1, is not."""
    call = CALLS[name]
    for value in BAD_SCALARS:
        given = call.arguments | {argument: value}
        try:
            verdict(
                "scalar", lambda g=given: call.function(**g), lambda a: all(np.isfinite(n).all() for n in numbers(a))
            )
        except Exception as error:
            raise AssertionError(f"{argument}={value!r}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("examples", [80, pytest.param(3000, marks=pytest.mark.slow)])
def test_any_two_changes(examples: int) -> None:
    """Bad arguments together: still a named error."""
    pairs = [pair for pair in array_arguments() if pair not in LINEAR | BATCHED]

    def check(first: tuple[str, str], kinds: list[str], second: int) -> None:
        name, argument = first
        call = CALLS[name]
        others = [other for other in call.arrays if (name, other) not in LINEAR | BATCHED]
        other = others[second % len(others)]
        changed = {
            argument: BAD[kinds[0]](np.array(call.arguments[argument])),
            other: BAD[kinds[1]](np.array(call.arguments[other])),
        }
        same_rows = {"x", "y", "c"} == {argument, other} | {"x", "y", "c"} and argument != other
        if (kinds[0] == kinds[1] and same_rows) or any(k in ("a row less", "shorter", "longer") for k in kinds):
            return  # may be a smaller problem, and a good one
        verdict("two changes", lambda: call.function(**(call.arguments | changed)), lambda _: False)

    kinds = st.lists(st.sampled_from(sorted(BAD)), min_size=2, max_size=2)
    explore(check, examples, st.sampled_from(pairs), kinds, st.integers(0, 5))


def test_backends_by_wrong_names() -> None:
    for name in ("", "jax", "Numpy", 3, b"numpy", [], {}, object()):
        assert verdict("backend", lambda n=name: get_backend(n), lambda _: False) == "refused"
    for dtype in ("float16", "int", "", None, 3, np.float64, object()):
        verdict("backend", lambda d=dtype: get_backend("numpy", d), lambda b: b.dtype in ("float64", "float32"))


def test_the_tally(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{table()}")

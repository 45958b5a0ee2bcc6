"""Networks and weights from live modules of PyTorch, and weights from memory.

Tests that need PyTorch are skipped without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import validation
from simulator import HessianOperator, mlp, output
from support.cases import CASES, SMALL, Array, Case, assert_close
from support.torch_files import need_torch, torch_model, torch_output
from validation import WeightsError, from_torch, load_weights
from validation.interchange.layout import Layout, layer_names
from validation.interchange.steps import Builder, Step


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_module_becomes_the_same_network(case: Case) -> None:
    model = torch_model(case)
    network, weights = from_torch(model, case.input_shape)
    assert network == case.network
    assert {w.dtype for w in weights} == {np.dtype("float64")}
    scale = float(np.linalg.norm(output(network, [np.abs(w) for w in weights], np.abs(case.x))))
    assert_close(output(network, weights, case.x), torch_output(model, case.x, "float64"), 1e-12, scale)


def torch_product(case: Case, model: Any, v: list[Array], loss: str) -> list[Array]:
    """H v by differentiating the risk twice in PyTorch, v and H v as the network's weights are."""
    torch = need_torch()
    layout = Layout(case.network, "torch", None, None)
    images = np.moveaxis(case.x, -1, 1) if case.x.ndim == 4 else case.x
    t = model(torch.from_numpy(np.ascontiguousarray(images)))[:, 0]
    u = torch.from_numpy(case.y) * t
    risk = (torch.relu(1 - u) if loss == "hinge" else torch.log1p(torch.exp(-u))).mean()
    gradient = torch.autograd.grad(risk, list(model.parameters()), create_graph=True)
    directions = [torch.from_numpy(layout.to_file(i, part)) for i, part in enumerate(v)]
    along = sum((g * d).sum() for g, d in zip(gradient, directions, strict=True))
    if not along.requires_grad:  # one layer and a hinge: the risk is linear
        return [np.zeros_like(part) for part in v]
    product = torch.autograd.grad(along, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return [layout.to_network(i, p.numpy()) for i, p in enumerate(product)]


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_hessian_products_are_those_of_autograd(case: Case, loss: str) -> None:
    need_torch().manual_seed(case.seed)
    model = torch_model(case)
    network, weights = from_torch(model, case.input_shape)
    v = np.random.default_rng(0).standard_normal(network.n_weights)
    theirs = network.flatten(torch_product(case, model, network.unflatten(v), loss))
    ours = HessianOperator(network, weights, case.x, case.y, loss) @ v
    assert_close(ours, theirs, 1e-10, max(1.0, float(np.linalg.norm(theirs))))


def net() -> Any:
    """A module with a forward of its own, written as people write it."""
    torch = need_torch()
    f = torch.nn.functional

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1, bias=False), torch.nn.ReLU())
            self.inner = torch.nn.Linear(48, 4, bias=False)
            self.head = torch.nn.Linear(4, 1, bias=False)

        def forward(self, x: Any) -> Any:
            x = f.max_pool2d(self.body(x), 2)
            x = x.view(x.size(0), -1)
            return self.head(torch.relu(self.inner(x))).squeeze(-1)

    return Net


def test_a_forward_that_runs_its_layers_in_order_is_followed() -> None:
    torch, kind = need_torch(), net()
    model = kind()
    for shape in ((8, 8, 1), (1, 8, 8)):
        network, weights = from_torch(model, shape)
        assert network.weight_shapes == [(3, 3, 1, 3), (48, 4), (4, 1)]
    x = np.random.default_rng(0).standard_normal((5, 8, 8, 1))
    with torch.no_grad():
        right = model.double()(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    assert_close(output(network, weights, x), right, 1e-12)


def test_a_pool_before_its_relu_is_the_pool_behind_it() -> None:
    nn = need_torch().nn
    layers = [nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(8, 1, bias=False)).double()
    x = np.random.default_rng(0).standard_normal((6, 4, 4, 1))
    network, weights = from_torch(model, (4, 4, 1))
    assert_close(output(network, weights, x), torch_output(model, x, "float64"), 1e-13)


def test_a_module_that_flattens_at_once_takes_its_own_order_of_pixels() -> None:
    """Without input_shape rows are as PyTorch flattens them, with it images are channels last."""
    nn = need_torch().nn
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False)).double()
    x = np.random.default_rng(0).standard_normal((5, 3, 2, 3))
    right = torch_output(model, x, "float64")
    network, weights = from_torch(model)
    assert_close(output(network, weights, np.moveaxis(x, -1, 1)), right, 1e-13)
    network, weights = from_torch(model, x.shape[1:])
    assert_close(output(network, weights, x), right, 1e-13)


def test_weights_are_copies_and_the_module_is_left_alone() -> None:
    nn = need_torch().nn
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    before = [p.detach().clone() for p in model.parameters()]
    _, weights = from_torch(model.train())
    _, also = from_torch(model.bfloat16())
    for w in (*weights, *also):
        assert w.dtype == np.float32
        w += 1.0
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    for now, then in zip(model.parameters(), before, strict=True):
        assert_array_equal(now.detach().float().numpy(), then.bfloat16().float().numpy())


def refused(kind: str) -> Any:
    """A module that the model does not cover."""
    torch = need_torch()
    nn, f, own = torch.nn, torch.nn.functional, net()

    def chain(*layers: Any) -> Any:
        return nn.Sequential(nn.Linear(4, 3, bias=False), *layers, nn.Linear(3, 1, bias=False))

    def image(**options: Any) -> Any:
        conv = nn.Conv2d(1, 2, **({"kernel_size": 3, "padding": 1, "bias": False} | options))
        return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(128, 1, bias=False))

    def pooled(*pools: Any) -> Any:
        conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        return nn.Sequential(conv, *pools, nn.Flatten(), nn.Linear(32, 1, bias=False))

    class Skip(own):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> Any:
            h = f.relu(self.inner(self.body(x).flatten(1)))
            return self.head(h + h)

    class Conditional(own):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> Any:
            return self.head(x) if x.sum() > 0 else x

    class Raw(own):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> Any:
            return f.linear(x, self.head.weight)

    class Two(own):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> Any:
            x = self.inner(x.flatten(1))
            return x, self.head(f.relu(x))

    class Gelu(own):  # type: ignore[misc, valid-type]
        def forward(self, x: Any) -> Any:
            return self.head(f.gelu(self.inner(x.flatten(1))))

    hooked, shared = chain(nn.ReLU()), nn.Linear(3, 3, bias=False)
    hooked[2].register_forward_hook(lambda module, inputs, value: 2 * value)
    lying = chain(nn.ReLU())
    lying.__class__ = type("Lying", (nn.Sequential,), {"forward": lambda self, x: 2 * nn.Sequential.forward(self, x)})
    makers: dict[str, Callable[[], Any]] = {
        "bias": lambda: nn.Sequential(nn.Linear(4, 1)),
        "norm": lambda: chain(nn.BatchNorm1d(3), nn.ReLU()),
        "dropout": lambda: nn.Sequential(chain(nn.ReLU(), nn.Dropout())),
        "outputs": lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 10, bias=False)),
        "tanh": lambda: chain(nn.Tanh()),
        "no gate": chain,
        "gate at the end": lambda: nn.Sequential(nn.Linear(4, 1, bias=False), nn.ReLU()),
        "gate at the start": lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 1, bias=False)),
        "shared": lambda: chain(nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU()),
        "lstm": lambda: nn.Sequential(nn.LSTM(3, 3)),
        "parametrised": lambda: chain(nn.ReLU(), nn.utils.parametrizations.weight_norm(shared), nn.ReLU()),
        "hook": lambda: hooked,
        "skip": Skip, "conditional": Conditional, "raw": Raw, "two values": Two, "gelu": Gelu, "lying": lambda: lying,
        "stride": lambda: image(stride=2), "dilation": lambda: image(dilation=2), "groups": lambda: image(groups=1),
        "padding": lambda: image(padding=0), "circular": lambda: image(padding_mode="circular"),
        "even": lambda: image(kernel_size=2), "oblong": lambda: image(kernel_size=(3, 5)),
        "overlapping pool": lambda: pooled(nn.ReLU(), nn.MaxPool2d(3, 2)),
        "ceiling": lambda: pooled(nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True)),
        "adaptive": lambda: pooled(nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        "mean first": lambda: pooled(nn.AvgPool2d(2), nn.ReLU()),
        "not flat": lambda: nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False)),
        "infinite": lambda: nn.Sequential(nn.Linear(2, 1, bias=False).requires_grad_(False).apply(fill)),
    }  # fmt: skip

    def fill(module: Any) -> None:
        module.weight.fill_(np.inf)

    return makers[kind]()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bias", r"module '0' \(Linear\) has a bias, and every path.* \(10\)\. Use bias=False"),
        ("norm", r"module '1' \(BatchNorm1d\) divides signals by their own statistics.* Leave it out"),
        ("dropout", r"module '0\.2' \(Dropout\) draws gates at random.* \(7\)\. Leave it out"),
        ("outputs", "module '2' has 10 outputs, and the theory is that of one output.* difference of two rows"),
        ("tanh", r"module '1' \(Tanh\) is no 0/1 gate.* Use ReLU"),
        ("no gate", "module '1' follows '0' without a ReLU"),
        ("gate at the end", "module '0' is not the last step"),
        ("gate at the start", "module '0' is a ReLU of the inputs"),
        ("shared", "module '4' is used twice"),
        ("lstm", r"module '0' \(LSTM\) is no layer of the model"),
        ("parametrised", r"module '2' \(ParametrizedLinear\) computes its weights.*remove_parametrizations"),
        ("hook", r"module '2' \(Linear\) has a forward hook"),
        ("skip", r"the module \('add' in its forward\) joins values, and all paths.* skip connection"),
        ("conditional", r"the module \(Conditional\) has a forward whose order of layers is not certain"),
        ("raw", "module 'head.weight' is a tensor that the forward uses by itself"),
        ("two values", r"the module \(Two\) gives several values"),
        ("gelu", r"the module \('gelu' in its forward\) is no 0/1 gate"),
        ("lying", r"the module .*(joins values|calls)"),
        ("stride", r"module '0' \(Conv2d\) has stride \(2, 2\)"),
        ("dilation", r"has dilation \(2, 2\)"),
        ("padding", r"has padding \(0, 0\).* Use padding=1"),
        ("circular", "has padding_mode 'circular'"),
        ("even", r"has a kernel of \(2, 2\)"),
        ("oblong", r"has a kernel of \(3, 5\)"),
        ("overlapping pool", "module '2' .* has stride 2, and windows"),
        ("ceiling", "has ceil_mode True"),
        ("adaptive", r"module '2' \(AdaptiveAvgPool2d\) is a pool"),
        ("mean first", "module '1' averages before the ReLU"),
        ("not flat", r"module '2' is a Linear on images \(8, 8, 2\)"),
        ("infinite", "module '0' has NaN or infinite weights"),
    ],
)
def test_what_the_model_does_not_cover_is_refused(kind: str, message: str) -> None:
    model = refused(kind)
    first = next(iter(model.parameters()))
    with pytest.raises(WeightsError, match=message) as caught:
        from_torch(model, (8, 8, 1) if first.ndim == 4 else None)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(". ") <= 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"the size of the images is not in the module: give input_shape=\(height, width, 1\)"),
        ((8, 8), r"input_shape \(8, 8\): expected \(height, width, channels\) or \(n,\)"),
        ((8, 8, 3), "module 'body.0' takes 1 inputs where 3 arrive"),
        ((16, 16, 1), "module 'inner' takes 48 inputs where 192 arrive"),
        ((64,), "module 'body.0' is a convolution of vectors"),
    ],
)
def test_input_shapes_that_do_not_fit(shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        from_torch(net()(), shape)


def test_what_is_no_module() -> None:
    for value in ({"0.weight": np.ones((1, 2))}, "model.pt", None):
        with pytest.raises(WeightsError, match=r"was given, expected a torch\.nn\.Module: .* load_weights"):
            from_torch(value)


def take_all(builder: Builder, steps: Iterable[Step]) -> None:
    for step in steps:
        builder.take(step)


def test_steps_that_cannot_follow_each_other() -> None:
    """The same refusals without PyTorch."""
    conv, dense, relu = Step("c", "conv", 1, 2, 3), Step("d", "dense", 32, 1), Step("r", "relu")
    good = (conv, relu, Step("p", "max", size=2), Step("f", "flatten"), dense)
    builder = Builder((8, 8, 1))
    take_all(builder, good)
    assert builder.network().weight_shapes == [(3, 3, 1, 2), (32, 1)]
    for steps, message in (
        ((conv, conv), "module 'c' follows 'c' without a ReLU"),
        ((relu,), "ReLU of the inputs"),
        ((conv, relu, dense), "Linear on images"),
        ((*good, Step("p", "max", size=2)), "pools vectors"),
        ((conv, relu, Step("p", "avg", size=9)), "windows of side 9"),
    ):
        with pytest.raises(WeightsError, match=message):
            take_all(Builder((8, 8, 1)), steps)
    with pytest.raises(WeightsError, match=r"no Conv2d and no Linear"):
        Builder((8, 8, 1)).network()


NETWORK = mlp([5, 4, 4, 1])
DISTINCT = mlp([5, 4, 3, 1])


def state(network: Any = NETWORK) -> dict[str, Array]:
    """Arrays as PyTorch has them, by names of modules."""
    return {name: w.T.copy() for name, w in zip(layer_names(network), network.init(0), strict=True)}


def test_weights_from_a_mapping_of_arrays() -> None:
    right, arrays = NETWORK.init(0), state()
    plain = {f"weights_{i}": w for i, w in enumerate(right)} | {"velocity_0": right[0], "epoch": np.array(3)}
    shuffled = {"c": right[2], "a": right[1], "b": right[0]}
    for source, options in (
        (arrays, {"layout": "torch"}),
        (dict(reversed(arrays.items())), {"layout": "torch"}),  # numbers in the names decide
        (plain, {}),
        (shuffled, {"names": ["b", "a", "c"]}),
        ({"model": arrays, "epoch": 3}, {"layout": "torch", "key": "model"}),
    ):
        loaded = load_weights(source, NETWORK, **options)
        for ours, w in zip(loaded, right, strict=True):
            assert_array_equal(ours, w)
            assert not any(np.shares_memory(ours, value) for value in right)
    half = {name: w.astype(np.float16) for name, w in arrays.items()}
    assert {w.dtype for w in load_weights(half, NETWORK, layout="torch")} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ({"in": (5, 4), "mid": (4, 4), "mid2": (4, 4), "out": (4, 1)}, {}, "expected 3 weights of shapes"),
        (state(), {}, r"the mapping holds .*: they fit layout='torch'"),
        ({"model": state()}, {}, "a mapping under 'model': give that one alone, or its key"),
        ({"model": state()}, {"key": "best"}, r"key 'best' of the mapping .* choose among \['model'\]"),
        ({"0.bias": np.ones(4)} | state(), {"layout": "torch"}, "bias '0.bias' of the mapping is not zero"),
        ({"0.weight": np.full((4, 5), np.nan)} | {k: v for k, v in state().items() if k != "0.weight"},
         {"layout": "torch"}, "'0.weight' of the mapping has NaN"),
        ({"weights_1": np.ones((5, 4))}, {}, "the mapping cannot be used: its layers are weights_1"),
        (3.0, {}, "weights of type float were given: expected a path, a state dictionary or a mapping"),
        ({"x": "text"}, {}, "'x' of the mapping, shape"),
    ],
)  # fmt: skip
def test_mappings_that_cannot_be_used(source: Any, options: dict[str, Any], message: str) -> None:
    if isinstance(source, dict) and "in" in source:
        source = {name: np.ones(shape) for name, shape in source.items()}
    with pytest.raises(WeightsError, match=message):
        load_weights(source, NETWORK, **options)


def test_names_that_say_nothing_of_the_order_are_refused_without_names() -> None:
    """Two square layers under sorted names: either may come first."""
    deep = mlp([4, 4, 4, 1])
    weights = deep.init(0)
    named = {"alpha": weights[1], "beta": weights[0], "gamma": weights[2]}
    with pytest.raises(WeightsError, match=r"does not say in which order .* names=\[\.\.\.\]"):
        load_weights(named, deep)
    for ours, w in zip(load_weights(named, deep, names=["beta", "alpha", "gamma"]), weights, strict=True):
        assert_array_equal(ours, w)


def test_arrays_in_a_row_are_taken_where_shapes_decide() -> None:
    right = DISTINCT.init(0)
    for ours, w in zip(load_weights(iter(right[::-1]), DISTINCT), right, strict=True):
        assert_array_equal(ours, w)
    with pytest.raises(WeightsError, match=r"does not say which array is which layer.* give model\.state_dict\(\)"):
        load_weights(mlp([4, 4, 4, 1]).init(0), mlp([4, 4, 4, 1]))


def test_the_live_state_of_a_module() -> None:
    """Module, state dictionary, parameters with and without names; the numbers do not follow the training."""
    nn = need_torch().nn
    layers = [nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 1)]
    nn.init.zeros_(layers[-1].bias)
    model = nn.Sequential(*layers)
    right = [layer.weight.detach().numpy().T.copy() for layer in model[::2]]
    sources = (model, model.state_dict(), model.parameters(), list(model.parameters()), model.named_parameters())
    loaded = [load_weights(source, DISTINCT) for source in sources]
    need_torch().nn.init.zeros_(model[0].weight)
    for weights in loaded:
        for ours, w in zip(weights, right, strict=True):
            assert_array_equal(ours, w)
    with pytest.raises(WeightsError, match=r"tensor 'a' has no numbers that can be read"):
        load_weights({"a": need_torch().empty((5, 1), device="meta")}, mlp([5, 1]), layout="umwelt")


def test_public_names_are_those_of_the_package() -> None:
    assert validation.from_torch is from_torch

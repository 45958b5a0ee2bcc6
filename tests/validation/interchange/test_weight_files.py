"""Weights from and to PyTorch, safetensors and npz files: round trips, layouts, PyTorch's own files, refusals.

The files under `files` were written by torch.save of PyTorch 2.13 from the tensors that `numbers` describes. Tests that
need PyTorch are skipped without it.
"""

from __future__ import annotations

import importlib
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import validation
from simulator import Conv, Dense, MaxPool, Network, mlp, output, sequential
from support.cases import CASES, IMAGES, SMALL, Array, Case, assert_close
from support.places import FILES
from support.torch_files import need_torch, torch_model, torch_output, write
from validation.interchange import WeightsError, file_digest, load_weights, save_weights
from validation.interchange.layout import layer_names

KINDS = ("pt", "pth", "safetensors", "npz")
NETWORK = sequential((4, 4, 1), [Conv(2), MaxPool(2), Dense(3), Dense(1)])
MLP = mlp([5, 4, 4, 1])


def numbers(*shape: int) -> Array:
    """Small whole numbers, exact in every dtype, in the order of the file."""
    return np.arange(int(np.prod(shape))).reshape(shape) % 7 - 3.0


def expected() -> list[Array]:
    """The committed weights in our layout, entry by entry from the definition of either."""
    convolution, first, last = numbers(2, 1, 3, 3), numbers(3, 8), numbers(1, 3)
    w = [np.zeros(shape) for shape in NETWORK.weight_shapes]
    for out in range(2):
        for row in range(3):
            for column in range(3):
                w[0][row, column, 0, out] = convolution[out, 0, row, column]
    for out in range(3):
        for channel in range(2):
            for row in range(2):
                for column in range(2):
                    w[1][row * 4 + column * 2 + channel, out] = first[out, channel * 4 + row * 2 + column]
        w[2][out, 0] = last[0, out]
    return w


@pytest.mark.parametrize("name", ["torch_float32.pt", "torch_checkpoint_bfloat16.pt"])
def test_files_that_pytorch_wrote(name: str) -> None:
    for ours, right in zip(load_weights(FILES / name, NETWORK), expected(), strict=True):
        assert ours.dtype == np.float32
        assert ours.flags.c_contiguous
        assert_array_equal(ours, right)


def test_pytorch_still_writes_such_files(tmp_path: Path) -> None:
    torch = need_torch()
    for name, dtype in (("torch_float32.pt", torch.float32), ("torch_checkpoint_bfloat16.pt", torch.bfloat16)):
        state = torch.load(FILES / name, weights_only=True)
        state = state.get("model", state)
        assert {t.dtype for t in state.values()} == {dtype}
        torch.save(OrderedDict(state), tmp_path / "again.pt")
        for ours, right in zip(load_weights(tmp_path / "again.pt", NETWORK), expected(), strict=True):
            assert_array_equal(ours, right)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_every_kind_of_file_gives_the_weights_back(case: Case, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{kind}"
    for layout in (None, "torch", "umwelt"):
        for flatten in (None, "channels_first", "channels_last"):
            options = {"layout": layout, "flatten": flatten}
            save_weights(path, case.network, case.weights, **options)
            for ours, right in zip(load_weights(path, case.network, **options), case.weights, strict=True):
                assert_array_equal(ours, right)
                assert ours.dtype == np.float64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8", "int8"])
def test_every_dtype(kind: str, dtype: str, tmp_path: Path) -> None:
    weights = [(8 * w).astype(dtype) for w in MLP.init(0)]
    save_weights(tmp_path / f"w.{kind}", MLP, weights)
    kept = {"float16": "float32", "int8": "float64"}.get(dtype, np.dtype(dtype).newbyteorder("=").name)
    for ours, right in zip(load_weights(tmp_path / f"w.{kind}", MLP), weights, strict=True):
        assert ours.dtype == kept
        assert_array_equal(ours, right)


def test_a_file_is_the_same_every_time(tmp_path: Path) -> None:
    digests = set()
    for name in ("a.pt", "b.pt"):
        save_weights(tmp_path / name, NETWORK, NETWORK.init(0))
        digests.add(file_digest(tmp_path / name))
    assert len(digests) == 1


def test_a_transposed_or_strided_array_is_written_by_its_values(tmp_path: Path) -> None:
    weights = [np.asfortranarray(w) for w in MLP.init(0)]
    weights[0] = np.repeat(weights[0], 2, axis=1)[:, ::2]
    for kind in KINDS:
        save_weights(tmp_path / f"w.{kind}", MLP, weights)
        for ours, right in zip(load_weights(tmp_path / f"w.{kind}", MLP), weights, strict=True):
            assert_array_equal(ours, right)


def test_npz_of_columns_first_and_compressed(tmp_path: Path) -> None:
    weights = [np.asfortranarray(w) for w in MLP.init(0)]
    np.savez_compressed(tmp_path / "w.npz", *weights)
    for ours, right in zip(load_weights(tmp_path / "w.npz", MLP), weights, strict=True):
        assert_array_equal(ours, right)


def test_a_dense_first_layer_on_images(tmp_path: Path) -> None:
    """A perceptron on flattened images: the same function of the image, whichever order the file counts pixels in."""
    network, image = mlp([12, 4, 1]), (2, 3, 2)
    x = np.random.default_rng(0).standard_normal((5, *image))
    first = np.random.default_rng(1).standard_normal((4, 12))  # (out, in), channels first
    last = np.random.default_rng(2).standard_normal((1, 4))
    np.savez(tmp_path / "w.npz", first, last)
    right = np.maximum(x.transpose(0, 3, 1, 2).reshape(5, 12) @ first.T, 0) @ last.T
    whole = sequential(image, [Dense(4), Dense(1)])
    for net, shape in ((network, image), (whole, None)):
        w = load_weights(tmp_path / "w.npz", net, layout="torch", image_shape=shape)
        assert_close(output(net, w, x), right[:, 0], 1e-14)
    with pytest.raises(WeightsError, match=r"image_shape \(2, 2, 2\) does not fit"):
        load_weights(tmp_path / "w.npz", network, layout="torch", image_shape=(2, 2, 2))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_agree_with_pytorch(case: Case, tmp_path: Path, backend: str) -> None:
    """To rounding in either precision, relative to T with all signs made positive: what rounding errors grow with."""
    torch = need_torch()
    torch.manual_seed(case.seed)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
        model = torch_model(case).to(getattr(torch, dtype))
        torch.save(model.state_dict(), tmp_path / "w.pt")
        weights = load_weights(tmp_path / "w.pt", case.network)
        assert {w.dtype for w in weights} == {np.dtype(dtype)}
        scale = float(np.linalg.norm(output(case.network, [np.abs(w) for w in weights], np.abs(case.x), backend)))
        ours = output(case.network, weights, case.x, backend)
        assert_close(ours, torch_output(model, case.x, dtype), tolerance, scale)


@pytest.mark.parametrize("case", IMAGES, ids=str)
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_pytorch_takes_our_files(case: Case, kind: str, tmp_path: Path) -> None:
    """Names, shapes and values fit the Sequential as they are; `weights_only` and memory mapping are accepted."""
    torch = need_torch()
    save_weights(tmp_path / f"w.{kind}", case.network, case.weights)
    if kind == "pt":
        state = torch.load(tmp_path / "w.pt", weights_only=True)
        mapped = torch.load(tmp_path / "w.pt", weights_only=True, mmap=True)
        assert all(torch.equal(state[name], mapped[name]) for name in state)
    else:
        state = importlib.import_module("safetensors.torch").load_file(tmp_path / "w.safetensors")
    model = torch_model(case)
    model.load_state_dict(state, strict=True)
    assert sorted(state) == sorted(layer_names(case.network))
    assert_close(torch_output(model, case.x, "float64"), output(case.network, case.weights, case.x), 1e-12)


def test_what_pytorch_saves_besides(tmp_path: Path) -> None:
    """Parameters, views of one storage, biases of zeros, checkpoints: read; whole models and two of a kind: not."""
    torch = need_torch()
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4), torch.nn.ReLU())
    model.append(torch.nn.Linear(4, 1))
    for layer in model[::2]:
        torch.nn.init.zeros_(layer.bias)
    right = [p.detach().numpy().T for p in model.parameters() if p.ndim == 2]
    state, path = model.state_dict(), tmp_path / "w.pt"
    whole = torch.cat([p.detach().ravel() for p in model.parameters() if p.ndim == 2])
    views = {
        "0.weight": whole[:20].view(4, 5),
        "2.weight": whole[20:36].view(4, 4).T.contiguous().T,
        "4.weight": whole[36:][None],
    }
    optimizer = torch.optim.Adam(model.parameters()).state_dict()
    for saved in (state, dict(model.named_parameters()), views, {"model": state, "optimizer": optimizer, "epoch": 7}):
        torch.save(saved, path)
        for ours, w in zip(load_weights(path, MLP), right, strict=True):
            assert_array_equal(ours, w)
    torch.save({"model": state, "average": {k: 2 * v for k, v in state.items()}}, path)
    with pytest.raises(WeightsError, match=r"2 state dictionaries \['model', 'average'\]"):
        load_weights(path, MLP)
    assert_array_equal(load_weights(path, MLP, key="average")[1], 2 * right[1])
    with pytest.raises(WeightsError, match=r"key 'best' of .* is no state dictionary: choose among"):
        load_weights(path, MLP, key="best")
    torch.save(model, path)
    with pytest.raises(WeightsError, match=r"names 'torch\.nn\.modules\.container\.Sequential' in its pickle"):
        load_weights(path, MLP)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="bare pickle"):
        load_weights(path, MLP)


def torch_arrays(network: Network = MLP) -> dict[str, Array]:
    return {name: np.ascontiguousarray(w.T) for name, w in zip(layer_names(network), network.init(0), strict=True)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"0.bias": np.array([0.0, 0.0, 1e-30, 0.0])},
            "bias '0.bias' of .* is not zero, and networks here have no biases",
        ),
        ({"0.bias": np.array([0.0, 0.0, np.nan, 0.0])}, "bias '0.bias' of .* is not zero"),
        ({"0.bias": np.zeros(3)}, "bias '0.bias' of .* belongs to no layer"),
        ({"1.running_mean": np.zeros(4)}, "'1.running_mean' of .* is neither the weight of a dense layer"),
        ({"1.weight": np.ones(4)}, "'1.weight' of .*, shape \\(4,\\), is neither"),
        ({"0.weight_mask": np.ones((4, 5))}, "'0.weight_mask' of .* is neither"),
        ({"6.weight": np.ones((4, 4))}, "expected 3 weights of shapes \\(4, 5\\), \\(4, 4\\), \\(1, 4\\)"),
        ({"0.weight": np.ones((5, 4))}, "(?=.*holds .*0.weight \\(5, 4\\)).* expected 3 weights of shapes"),
        ({"2.weight": np.full((4, 4), np.inf)}, "'2.weight' of .* has NaN or infinite weights"),
        ({"2.weight": np.ones((4, 4), dtype=np.int32)}, "'2.weight' of .* is int32, expected one of float16"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else None,
)
@pytest.mark.parametrize("kind", ["pt", "safetensors", "npz"])
def test_what_does_not_fit_the_network(changed: dict[str, Array], message: str, kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"w.{kind}", torch_arrays() | changed)
    if kind == "safetensors":
        message = message.replace("int32", "I32")
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path, MLP, layout="torch")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_names_choose_the_layers(tmp_path: Path) -> None:
    arrays = torch_arrays()
    path = write(tmp_path / "w.pt", dict(reversed(arrays.items())) | {"extra.scale": np.ones(3)})
    for ours, right in zip(load_weights(path, MLP, names=list(arrays)), MLP.init(0), strict=True):
        assert_array_equal(ours, right)
    with pytest.raises(WeightsError, match=r"has no '8.weight': choose among 4.weight \(1, 4\)"):
        load_weights(path, MLP, names=["0.weight", "2.weight", "8.weight"])


def test_safetensors_are_sorted_by_number(tmp_path: Path) -> None:
    """Eleven layers, which the format sorts as 0, 10, 12, ..., 2; and convolutions before other names."""
    deep = mlp([3] * 11 + [1])
    save_weights(tmp_path / "w.safetensors", deep, deep.init(1))
    for ours, right in zip(load_weights(tmp_path / "w.safetensors", deep), deep.init(1), strict=True):
        assert_array_equal(ours, right)
    names = ["features.0.weight", "classifier.1.weight", "classifier.3.weight"]
    save_weights(tmp_path / "w.safetensors", NETWORK, NETWORK.init(1), names=names)
    for ours, right in zip(load_weights(tmp_path / "w.safetensors", NETWORK), NETWORK.init(1), strict=True):
        assert_array_equal(ours, right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "jax"}, "layout 'jax' is unknown: use one of torch, umwelt"),
        ({"flatten": "rows"}, "flatten 'rows' is unknown: use one of channels_first, channels_last"),
        ({"image_shape": (5,)}, r"image_shape \(5,\) does not fit"),
        ({"names": ["a", "b"]}, r"names \['a', 'b'\] are not usable"),
        ({"names": ["a", "b", "a"]}, "are not usable: give 3 different ones"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        save_weights(tmp_path / "w.pt", MLP, MLP.init(0), **options)
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    weights = MLP.init(0)
    for call in (lambda p: save_weights(p, MLP, weights), lambda p: load_weights(p, MLP)):
        with pytest.raises(WeightsError, match=r"of no known kind: expected an ending among \.pt, \.pth"):
            call(tmp_path / "w.onnx")
    with pytest.raises(WeightsError, match="cannot be written"):
        save_weights(tmp_path / "no" / "w.pt", MLP, weights)
    with pytest.raises(WeightsError, match="does not exist"):
        load_weights(tmp_path / "w.pt", MLP)
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tmp_path / "folder.pt", MLP)
    np.savez(tmp_path / "w.npz", *weights)
    with pytest.raises(WeightsError, match="key 'model' names a part of a PyTorch checkpoint"):
        load_weights(tmp_path / "w.npz", MLP, key="model")


def test_weights_that_cannot_be_written(tmp_path: Path) -> None:
    good = MLP.init(0)
    for weights, message in (
        (good[:2], r"expected \(5, 4\), \(4, 4\), \(4, 1\)"),
        ([good[0], good[1], good[2][:, 0]], r"\(4,\) were given"),
        ([good[0], good[1] * np.nan, good[2]], "layer 2 has weights of dtype float64 or not finite"),
        ([good[0].astype(complex), *good[1:]], "layer 1 has weights of dtype complex128"),
        ([good[0].astype(object), *good[1:]], "layer 1 has weights of dtype object"),
    ):
        with pytest.raises(WeightsError, match=message):
            save_weights(tmp_path / "w.pt", MLP, weights)
    assert not list(tmp_path.iterdir())


def test_safetensors_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", MLP, MLP.init(0))
    monkeypatch.setitem(importlib.import_module("sys").modules, "safetensors", None)
    with pytest.raises(WeightsError, match="pip install 'umwelt-dnn\\[safetensors\\]'"):
        load_weights(tmp_path / "w.safetensors", MLP)


def test_the_public_names() -> None:
    assert validation.load_weights is load_weights
    assert validation.save_weights is save_weights
    assert issubclass(validation.WeightsError, ValueError)


def test_the_zip_that_is_written(tmp_path: Path) -> None:
    """Numbers lie at multiples of 64 bytes and nothing is compressed, as torch.save does it."""
    save_weights(tmp_path / "w.pt", NETWORK, NETWORK.init(0))
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        for info in archive.infolist():
            start = info.header_offset + 30 + len(info.filename) + len(info.extra)
            assert start % 64 == 0

"""Weight files that say, or do not say, which array is which layer, and what else a checkpoint holds.

All networks are square, so that shapes leave the order open; every file is read as the function that was written, or
refused.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import io
import itertools
import os
import pickle
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from simulator import mlp
from support.torch_files import need_torch, write
from validation.interchange import WeightsError, load_weights, read_weights
from validation.interchange.torch_pickle import Storage, TensorRecord, dump

Array = np.ndarray[Any, Any]
NETWORK = mlp([4, 4, 4, 4, 1])
WEIGHTS = NETWORK.init(0)
KINDS = ("pt", "safetensors", "npz")


def named(names: Sequence[str]) -> dict[str, Array]:
    """The layers under these names, first to last, laid out as PyTorch does it."""
    return {name: np.ascontiguousarray(w.T) for name, w in zip(names, WEIGHTS, strict=True)}


def in_text_order(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: arrays[name] for name in sorted(arrays)}


def check(path: Path, decided: str, order: Sequence[str], **options: Any) -> None:
    """The file is read as the weights, in the order of these names, and says what decided it."""
    found = read_weights(path, NETWORK, layout="torch", **options)
    for ours, right in zip(found.weights, WEIGHTS, strict=True):
        assert_array_equal(ours, right)
    assert (list(found.names), found.decided) == (list(order), decided)


def refused(path: Path, message: str, **options: Any) -> str:
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path, NETWORK, layout="torch", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NUMBERED = [
    ("fc1.weight", "fc2.weight", "fc10.weight", "head.weight"),
    ("0.weight", "2.weight", "04.weight", "6.weight"),
    ("net.9.lin.weight", "net.10.lin.weight", "net.11.lin.weight", "net.12.out.weight"),
    ("layer1.0.fc1.weight", "layer1.0.fc2.weight", "layer1.1.fc1.weight", "z.weight"),
    ("module._orig_mod.b.2.weight", "module._orig_mod.b.3.weight", "module._orig_mod.b.20.weight", "a.weight"),
]


@pytest.mark.parametrize("names", NUMBERED, ids=lambda names: names[0])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_decide(kind: str, names: Sequence[str], tmp_path: Path) -> None:
    """Also for names that somebody sorted as texts, as safetensors are and what becomes of them in other files.

    The last layer has a shape of its own.
    """
    if kind == "npz":  # where a name has no module
        names = [name.removesuffix(".weight").replace(".", "_") for name in names]
    path = write(tmp_path / f"w.{kind}", in_text_order(named(names)))
    check(path, "by the numbers in their names", names)


AMBIGUOUS = [
    ("input.weight", "hidden.weight", "middle.weight", "output.weight"),
    ("fc1.weight", "mid.weight", "fc2.weight", "out.weight"),
    ("encoder.0.weight", "encoder.1.weight", "decoder.0.weight", "decoder.1.weight"),
    ("block.0.b.weight", "block.0.a.weight", "block.1.a.weight", "block.2.weight"),
    ("fc.weight", "fc1.weight", "fc2.weight", "fc3.weight"),
]


@pytest.mark.parametrize("names", AMBIGUOUS, ids=lambda names: names[0])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_words_do_not_decide(kind: str, names: Sequence[str], tmp_path: Path) -> None:
    """Sorted as texts they are refused in one sentence that names them and the remedy, which then works."""
    path = write(tmp_path / f"w.{kind}", in_text_order(named(names)))
    said = refused(path, "does not say in which order its arrays are the layers")
    assert all(name in said for name in names)
    assert "names=[...] (--weights-names A,B,...)" in said
    check(path, "as named", names, names=names)


@pytest.mark.parametrize("names", AMBIGUOUS[:4], ids=lambda names: names[0])
@pytest.mark.parametrize("kind", ["pt", "npz"])
def test_the_order_of_the_file_decides(kind: str, names: Sequence[str], tmp_path: Path) -> None:
    """Where its format keeps it and nobody sorted it."""
    if kind == "npz":
        bare = [name.replace(".", "_") for name in names]
        check(write(tmp_path / "w.npz", named(bare)), "in the order of the file", bare)
    else:
        check(write(tmp_path / "w.pt", named(names)), "in the order of the file", names)


def test_shapes_decide_where_all_differ(tmp_path: Path) -> None:
    """Whatever the names and the order of the file."""
    network = mlp([5, 4, 3, 1])
    arrays = {name: w.T.copy() for name, w in zip(("z.weight", "b.weight", "a.weight"), network.init(0), strict=True)}
    for kind in ("pt", "safetensors"):
        found = read_weights(write(tmp_path / f"w.{kind}", in_text_order(arrays)), network)
        assert (list(found.names), found.decided) == (list(arrays), "by their shapes")
        for ours, right in zip(found.weights, network.init(0), strict=True):
            assert_array_equal(ours, right)
        assert str(found) == "layers z.weight, b.weight, a.weight, by their shapes"


def test_a_file_against_its_numbers(tmp_path: Path) -> None:
    """A module that registers its last layer first: two witnesses, two orders."""
    path = write(tmp_path / "w.pt", named(("fc3.weight", "fc2.weight", "fc1.weight", "out.weight")))
    refused(path, r"\(fc3.weight stands before fc2.weight, against their numbers\)")


def test_numbers_against_the_shapes_do_not_count(tmp_path: Path) -> None:
    """Numbers that are sizes, say: the first layer that shapes fix has not the smallest one."""
    network = mlp([4, 6, 4, 4, 4, 1])
    names = ("d6.weight", "d4.weight", "a.weight", "b.weight", "out.weight")
    arrays = {name: w.T.copy() for name, w in zip(names, network.init(0), strict=True)}
    with pytest.raises(WeightsError, match="does not say in which order"):
        load_weights(write(tmp_path / "w.safetensors", arrays), network)
    found = read_weights(write(tmp_path / "w.pt", arrays), network)
    assert (found.names, found.decided) == (names, "in the order of the file")


def of_module(program: bytes) -> bytes:
    """The state dictionary of a pickle with what PyTorch adds to that of a module."""
    return program[:-1] + b"}X\x09\x00\x00\x00_metadata}sb."


def saved(path: Path, program: bytes) -> Path:
    """A .pt file with this pickle and the weights as its numbers."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for i, w in enumerate(WEIGHTS):
            archive.writestr(f"archive/data/{i}", np.ascontiguousarray(w.T).tobytes())
    path.write_bytes(stream.getvalue())
    return path


def state(names: Sequence[str] = ("0.weight", "2.weight", "4.weight", "6.weight")) -> bytes:
    records = []
    for i, (name, w) in enumerate(zip(names, WEIGHTS, strict=True)):
        records.append((name, TensorRecord(Storage(str(i), "float64", w.size), 0, w.T.shape, (w.shape[0], 1))))
    return dump(records)


def test_the_state_of_a_module_is_in_its_order(tmp_path: Path) -> None:
    """Words that happen to be in the order of texts; without the module's mark nobody knows."""
    names = ("a.weight", "b.weight", "c.weight", "d.weight")
    check(saved(tmp_path / "w.pt", of_module(state(names))), "in the order of the file", names)
    refused(saved(tmp_path / "w.pt", state(names)), "does not say in which order")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("abcd", "names 'abcd' is one text: give a list"),
        (["0.weight", "2.weight", "2.weight", "6.weight"], "have '2.weight' twice: give one name per layer"),
        (["0.weight", "2.weight", "6.weight"], "expected 4 weights of shapes"),
        (["6.weight", "2.weight", "4.weight", "0.weight"], "expected 4 weights of shapes"),
        (["0.weight", "2.weight", "4.weight", "8.weight"], "has no '8.weight': choose among 0.weight"),
    ],
)
def test_names_that_cannot_be_used(names: Any, message: str, tmp_path: Path) -> None:
    refused(saved(tmp_path / "w.pt", state()), message, names=names)


def test_what_names_leave_out_is_said(tmp_path: Path) -> None:
    arrays = named(("0.weight", "2.weight", "4.weight", "6.weight"))
    path = write(
        tmp_path / "w.pt", arrays | {"n_averaged": np.ones(()), "1.running_mean": np.ones(4), "0.bias": np.zeros(4)}
    )
    refused(path, "'n_averaged' of .* is neither the weight of a dense layer")
    found = read_weights(path, NETWORK, names=list(arrays))
    assert found.unused == ("n_averaged", "1.running_mean")
    assert str(found).endswith(", as named; not used: n_averaged, 1.running_mean")


def test_arrays_of_the_other_layout_are_refused(tmp_path: Path) -> None:
    """A square matrix fits both layouts; the output layer, (1, n) or (n, 1), does not."""
    path = write(tmp_path / "w.npz", named(("a0", "a1", "a2", "a3")))
    with pytest.raises(WeightsError, match=r"expected 4 weights of .*: they fit layout='torch'"):
        load_weights(path, NETWORK)
    check(path, "by the numbers in their names", ("a0", "a1", "a2", "a3"))


@pytest.mark.parametrize("other", ["biases_0", "gain_0", "b0"])
def test_what_stands_beside_numbered_weights_is_not_dropped(other: str, tmp_path: Path) -> None:
    """weights_0, weights_1, ... of a checkpoint have a velocity and a history beside them, others may have biases."""
    arrays: dict[str, Any] = {f"weights_{i}": w for i, w in enumerate(WEIGHTS)}
    np.savez(tmp_path / "w.npz", **arrays, velocity_0=WEIGHTS[0], history_risk=np.ones(3), epoch=3)
    for ours, right in zip(load_weights(tmp_path / "w.npz", NETWORK), WEIGHTS, strict=True):
        assert_array_equal(ours, right)
    np.savez(tmp_path / "w.npz", **arrays, **{other: np.ones(4)})
    with pytest.raises(WeightsError, match=f"'{other}' of .* is neither the weight"):
        load_weights(tmp_path / "w.npz", NETWORK)


class Colour(enum.Enum):
    RED = 1


class Config:
    def __init__(self) -> None:
        self.rate = 0.1


def looped() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


BESIDE: dict[str, Any] = {
    "number": 0.1, "array": np.arange(5.0), "scalar": np.float64(3), "numpy state": np.random.default_rng(0),
    "python state": random.getstate(), "namespace": argparse.Namespace(rate=0.1, layers=[1, 2]),
    "date": datetime.datetime(2026, 1, 1), "path": Path("x"), "set": {1, 2}, "frozenset": frozenset({1}),
    "enumeration": Colour.RED, "configuration": Config(), "defaults": collections.defaultdict(list, a=[1]),
    "keys": {(1, 2): 3, 0.5: 1, None: 2}, "bytes": b"abc", "bytearray": bytearray(b"abc"), "complex": 1j,
    "large": 2**5000, "slice": slice(1, 2), "function": np.linalg.norm, "loop": looped(),
    "nested": {"a": {"b": [(), None]}},
    "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
}  # fmt: skip


def checkpoint(protocol: int, **parts: Any) -> bytes:
    """A pickle of a dictionary; bytes among its values are pickles themselves."""
    items = b""
    for key, value in parts.items():
        program = value if isinstance(value, bytes) and value[:1] == b"\x80" else pickle.dumps(value, protocol)
        start = 11 if program[2:3] == pickle.FRAME else 2
        items += pickle.BINUNICODE + len(key).to_bytes(4, "little") + key.encode() + program[start:-1]
    return b"\x80" + bytes([protocol]) + b"}(" + items + b"u."


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("beside", list(BESIDE))
def test_a_checkpoint_with_more_than_weights(beside: str, protocol: int, tmp_path: Path) -> None:
    program = checkpoint(protocol, epoch=3, model=state(), extra=BESIDE[beside])
    path = saved(tmp_path / "w.pt", program)
    check(path, "by the numbers in their names", ("0.weight", "2.weight", "4.weight", "6.weight"))
    assert read_weights(path, NETWORK).key == "model"
    assert " of model, by the numbers" in str(read_weights(path, NETWORK))


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_program_beside_the_weights_is_not_run(protocol: int, tmp_path: Path) -> None:
    """Alone it is refused by its name; beside weights it is of no use, like everything that is no tensor."""
    trap = Trap(tmp_path / "made")
    path = saved(tmp_path / "w.pt", checkpoint(protocol, model=state(), extra=[trap, {"a": trap}]))
    assert read_weights(path, NETWORK).key == "model"
    refused(saved(path, pickle.dumps(trap, protocol)), r"names '\w+\.mkdir' in its pickle, which is not run")
    refused(saved(path, pickle.dumps({"0.weight": trap}, protocol)), r"names '\w+\.mkdir' in its pickle for '0.weight'")
    assert not (tmp_path / "made").exists()


def vectors(*names: str) -> bytes:
    return dump([(name, TensorRecord(Storage("3", "float64", 4), 0, (4,), (1,))) for name in names])


def test_which_state_dictionary_of_a_checkpoint(tmp_path: Path) -> None:
    """The only one that has weights, however deep; of several none."""
    path = tmp_path / "w.pt"
    saved(path, checkpoint(2, model=state(), statistics=vectors("mean", "std")))
    assert read_weights(path, NETWORK).key == "model"
    saved(path, checkpoint(2, run=checkpoint(2, net=state(), epoch=1), epoch=1))
    assert read_weights(path, NETWORK).key == "run.net"
    saved(path, checkpoint(2, model=state(), average=state()))
    refused(path, r"holds 2 state dictionaries \['model', 'average'\], expected one: give its key")
    assert read_weights(path, NETWORK, key="average").key == "average"
    refused(path, r"key 'best' of .* is no state dictionary: choose among \['model', 'average'\]", key="best")
    flat = state()[:-1] + b"X\x08\x00\x00\x00momentum" + state()[2:-1] + b"s."
    refused(saved(path, flat), r"holds 1 state dictionaries \['momentum'\] beside '0.weight'")
    refused(
        saved(path, state()[:-1] + b"X\x05\x00\x00\x00epochK\x03s."), "'epoch' of .* is of type int, expected a tensor"
    )
    refused(saved(path, checkpoint(2, epoch=3, best=0.1)), "holds no state dictionary of weights")
    refused(saved(path, pickle.dumps([1, 2], 2)), "is a pickle of a list, and holds no state dictionary")
    refused(
        saved(path, pickle.dumps(Config(), 2)),
        r"names '[\w.]*test_weight_order.Config' in its pickle",
    )


def test_a_dictionary_of_many_dictionaries(tmp_path: Path) -> None:
    """Each is looked at once, however often it is named."""
    many = {f"k{i}": None for i in range(2000)}
    levels: list[dict[str, Any]] = [dict(many) for _ in range(4)]
    for upper, lower in itertools.pairwise(levels):
        upper.update(dict.fromkeys(many, lower))
    refused(saved(tmp_path / "w.pt", pickle.dumps(levels[0], 2)), "holds no state dictionary of weights")


def test_tensors_that_are_more_than_numbers(tmp_path: Path) -> None:
    """Negated on reading, sparse, complex, of eight bits: refused by name where they are a weight."""
    torch = need_torch()

    tensors = {name: torch.tensor(w) for name, w in named(("0.weight", "2.weight", "4.weight", "6.weight")).items()}
    first = tensors["0.weight"]
    path = tmp_path / "w.pt"
    for other, message in (
        (
            torch._neg_view(-first),
            r"names 'torch._utils._rebuild_tensor_v2 \(lazily negated\)' in its pickle for '0.weight'",
        ),
        (first.to_sparse(), "names 'torch._utils._rebuild_sparse_tensor'"),
        (first.to(torch.complex128), "names 'torch.ComplexDoubleStorage'"),
        (first.to(torch.float8_e5m2), "names 'torch._utils._rebuild_tensor_v3'"),
        (first.to(torch.int64), "is int64, expected one of float16"),
    ):
        torch.save({**tensors, "0.weight": other}, path)
        refused(path, message)
    tagged = torch.nn.Parameter(first.clone())
    tagged.note = "x"
    for other in (tagged, torch.nn.Buffer(first.clone()), torch.stack([first, first])[1], first.T.contiguous().T):
        torch.save({**tensors, "0.weight": other}, path)
        check(path, "by the numbers in their names", list(tensors))

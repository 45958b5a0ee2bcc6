"""Damaged and hostile weight files: a named error, or exactly the weights that were written."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from simulator import mlp
from support.bad_input import TALLY, damaged, damages, explore, table, verdict
from support.cases import Array
from validation.interchange import WeightsError, load_weights, save_weights

NETWORK = mlp([5, 4, 4, 4, 1])
WEIGHTS = [w.astype(np.float32) for w in NETWORK.init(0)]
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
COUNTS = [60, pytest.param(300 if REDUCED else 6000, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of names that stand twice
        yield


def load(path: Path, content: bytes) -> list[Array]:
    path.write_bytes(content)
    return load_weights(path, NETWORK)


def same(weights: list[Array]) -> bool:
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(weights, WEIGHTS, strict=True)
    )


def plausible(weights: list[Array]) -> bool:
    """Finite numbers of the network's shapes: all that can be said of a file that says something else on purpose."""
    shapes = [w.shape for w in weights]
    return shapes == NETWORK.weight_shapes and all(w.dtype.kind == "f" and np.isfinite(w).all() for w in weights)


def written(path: Path, kind: str) -> bytes:
    if kind == "compressed.npz":
        np.savez_compressed(path / kind, *WEIGHTS)
        return (path / kind).read_bytes()
    save_weights(path / f"w.{kind}", NETWORK, WEIGHTS)
    return (path / f"w.{kind}").read_bytes()


@pytest.mark.parametrize("examples", COUNTS)
@pytest.mark.parametrize("kind", ["pt", "npz", "compressed.npz"])
def test_damaged_archives(kind: str, examples: int, tmp_path: Path) -> None:
    """Every array and the pickle are under a checksum: what is read is what was written."""
    whole, path = written(tmp_path, kind), tmp_path / f"damaged.{kind.rpartition('.')[2]}"

    def check(damage: list[tuple[str, float, int]]) -> None:
        verdict(f"{kind} damaged", lambda: load(path, damaged(whole, damage)), same, WeightsError)

    explore(check, examples, damages())


@pytest.mark.parametrize("kind", ["pt", "npz", "safetensors"])
def test_files_cut_off_anywhere(kind: str, tmp_path: Path) -> None:
    whole = written(tmp_path, kind)
    for length in range(0, len(whole), 7):
        outcome = verdict(
            f"{kind} cut off", lambda n=length: load(tmp_path / f"c.{kind}", whole[:n]), same, WeightsError
        )
        assert outcome == "refused"


@pytest.mark.parametrize("examples", COUNTS)
def test_damaged_safetensors(examples: int, tmp_path: Path) -> None:
    """The format has no checksum: what is read is what its own reader says stands there."""
    numpy_reader = pytest.importorskip("safetensors.numpy")
    whole, path = written(tmp_path, "safetensors"), tmp_path / "damaged.safetensors"

    def check(damage: list[tuple[str, float, int]]) -> None:
        content = damaged(whole, damage)

        def right(weights: list[Array]) -> bool:
            stored = [a.T.astype(w.dtype).tobytes() for a in numpy_reader.load(content).values() for w in weights[:1]]
            return plausible(weights) and all(w.tobytes() in stored for w in weights)

        verdict("safetensors damaged", lambda: load(path, content), right, WeightsError)

    explore(check, examples, damages())


@pytest.mark.parametrize("examples", COUNTS)
@pytest.mark.parametrize("kind", ["pt", "npz", "safetensors"])
def test_any_bytes(kind: str, examples: int, tmp_path: Path) -> None:
    start = {"pt": b"PK\x03\x04", "npz": b"PK\x03\x04", "safetensors": struct.pack("<Q", 40) + b"{"}[kind]

    def check(content: bytes, headed: bool) -> None:
        data = (start if headed else b"") + content
        verdict("any bytes", lambda: load(tmp_path / f"any.{kind}", data), lambda _: False, WeightsError)

    explore(check, examples // 3, st.binary(max_size=300), st.booleans())


def archive(data_pickle: bytes, numbers: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """A file like torch.save's with any pickle in it, its checksums right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target:
        target.writestr("archive/data.pkl", data_pickle)
        for key, data in (numbers or {str(i): w.T.tobytes() for i, w in enumerate(WEIGHTS)}).items():
            target.writestr(f"archive/data/{key}", data)
        target.writestr("archive/version", b"3\n")
    return stream.getvalue()


def good_pickle(tmp_path: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(written(tmp_path, "pt"))) as source:
        return source.read("archive/data.pkl")


class Call:
    """Pickles as the call of a function: what a hostile file is made of."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


def test_hostile_pickles_are_refused_by_name_and_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    calls: list[tuple[Any, ...]] = [
        (os.system, f"touch {canary}"),
        (eval, f"open({str(canary)!r}, 'w')"),
        (exec, f"open({str(canary)!r}, 'w')"),
        (open, str(canary), "w"),
        (os.mkdir, str(canary)),
        (__import__, "antigravity"),
        (getattr, "", "upper"),
    ]
    for function, *arguments in calls:
        for protocol in range(6):
            for wrapped in (Call(function, *arguments), {"0.weight": Call(function, *arguments)}):
                program = pickle.dumps(wrapped, protocol=protocol)
                outcome = verdict(
                    "hostile pickle", lambda p=program: load(tmp_path / "h.pt", archive(p)), same, WeightsError
                )
                assert outcome == "refused"
                with pytest.raises(WeightsError, match=r"names '|uses the pickle instruction") as caught:
                    load(tmp_path / "h.pt", archive(program))
                if protocol in (2, 3, 4):
                    assert function.__name__ in str(caught.value)
    assert not canary.exists()
    for suffix in ("npz", "safetensors"):
        with pytest.raises(WeightsError):
            load(tmp_path / f"h.{suffix}", pickle.dumps(Call(os.mkdir, str(canary))))
    objects = io.BytesIO()
    np.savez(objects, weights_0=np.array([Call(os.mkdir, str(canary))], dtype=object), allow_pickle=True)
    with pytest.raises(WeightsError):
        load(tmp_path / "h.npz", objects.getvalue())
    assert not canary.exists()


OPCODES = [
    b"}", b"]", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"s", b"u", b"a", b"e", b"N", b"\x88", b"\x89", b"R", b"Q",
    b"b", b"\x93", b"\x94", b"0", b"2", b"1", b"i", b"o", b"\x81", b"\x82\x01", b"q\x00", b"h\x00", b"h\x07", b"K\x04",
    b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f", b"M\x04\x00", b"J\xff\xff\xff\xff", b"J\x04\x00\x00\x00",
    b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"X\x08\x00\x00\x000.weight",
    b"X\xff\xff\xff\xff", b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", b"X\x07\x00\x00\x00storage",
    b"X\x01\x00\x00\x000",
    b"X\x03\x00\x00\x00cpu", b"cposix\nsystem\n", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"I1" + b"0" * 5000 + b"\n", b"Lx\n", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff", b"B\x02\x00\x00\x00ab", b"P0\n",
    b".",
]  # fmt: skip


@pytest.mark.parametrize("examples", COUNTS)
def test_any_pickle_program(examples: int, tmp_path: Path) -> None:
    """Programs of any instructions, alone and put into a good one, in an archive without a fault."""
    good = good_pickle(tmp_path)

    def check(program: list[bytes], place: float, whole: bool) -> None:
        middle = b"".join(program)
        cut = int(place * len(good))
        content = b"\x80\x02" + middle + b"." if whole else good[:cut] + middle + good[cut:]
        verdict("pickle program", lambda: load(tmp_path / "p.pt", archive(content)), plausible, WeightsError)

    explore(
        check, examples, st.lists(st.sampled_from(OPCODES), min_size=1, max_size=12), st.floats(0, 1), st.booleans()
    )


@pytest.mark.parametrize("examples", COUNTS)
def test_any_change_of_a_pickle(examples: int, tmp_path: Path) -> None:
    """Damage with the checksum made right again; where PyTorch is at hand and takes the file, it reads the same."""
    good = good_pickle(tmp_path)
    try:
        import torch
    except ImportError:
        torch = None

    def check(damage: list[tuple[str, float, int]]) -> None:
        content = archive(damaged(good, damage))

        def right(weights: list[Array]) -> bool:
            if torch is None:
                return plausible(weights)
            try:
                state = torch.load(io.BytesIO(content), weights_only=True)
            except Exception:  # stricter than this reader in places, such as the names of attributes
                return plausible(weights)
            read = [t.numpy().T.astype(w.dtype).tobytes() for t in state.values() if t.ndim == 2 for w in weights[:1]]
            return plausible(weights) and [w.tobytes() for w in weights] == read

        verdict("pickle changed", lambda: load(tmp_path / "p.pt", content), right, WeightsError)

    explore(check, examples, damages())


def peak(call: Callable[[], Any]) -> int:
    """Bytes that a refused call took at most."""
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def npz(shape: tuple[int, ...], data: bytes, name: str = "weights_0.npy", dtype: str = "<f8") -> bytes:
    """A compressed archive of one array that says it has this shape."""
    header, stream = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(name, header.getvalue() + data)
    return stream.getvalue()


def tensor_pickle(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], numel: int) -> bytes:
    from validation.interchange.torch_pickle import Storage, TensorRecord, dump

    record = TensorRecord(Storage("0", "float32", numel), offset, shape, stride)
    return dump([(f"{i}.weight", record) for i in range(4)])


def test_small_files_that_would_become_large(tmp_path: Path) -> None:
    """No more is read or allocated than the network needs."""
    zeros = bytes(40_000_000)
    bombs = {
        "a.npz": npz((2000, 2500), zeros),
        "b.npz": npz((5, 4), zeros),
        "c.npz": npz((10**9, 10**9), b""),
        "d.npz": npz((4,), zeros, "0.bias.npy"),
        "e.pt": archive(tensor_pickle(0, (4, 5), (0, 0), 10**7), {"0": zeros}, zipfile.ZIP_DEFLATED),
        "f.pt": archive(tensor_pickle(0, (10**9, 10**9), (0, 0), 1), {"0": bytes(4)}),
        "g.pt": archive(tensor_pickle(0, (4, 5), (10**12, 10**12), 20), {"0": bytes(80)}),
        "h.pt": archive(zeros, method=zipfile.ZIP_DEFLATED),
        "i.safetensors": struct.pack("<Q", 1 << 62) + b"{}",
    }
    for name, content in bombs.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert peak(lambda p=path: load_weights(p, NETWORK)) < 4_000_000, name
        verdict("bomb", lambda p=path: load_weights(p, NETWORK), lambda _: False, WeightsError)


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "numel"),
    [
        (1, (4, 5), (5, 1), 20), (0, (4, 5), (6, 1), 20), (21, (4, 5), (5, 1), 20), (0, (4, 5), (0, 0), 1),
        (0, (4, 5), (5, 1), 10**15), (1 << 61, (4, 5), (5, 1), 20), (0, (4, 0), (1, 1), 0),
    ],
)  # fmt: skip
def test_tensors_beyond_their_storage(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...], numel: int, tmp_path: Path
) -> None:
    """A view into memory that is not the file's would be a wrong number, or worse."""
    content = archive(tensor_pickle(offset, shape, stride, numel), {"0": bytes(80)})
    assert verdict("tensor outside", lambda: load(tmp_path / "t.pt", content), same, WeightsError) == "refused"


def test_memory_that_loops(tmp_path: Path) -> None:
    """Nested and self-referring structures, whose hash or text would take for ever."""
    nested = b"\x80\x02)" + b"q\x00\x86h\x00h\x00" * 0 + b"q\x00"
    for _ in range(60):  # ((((), ()), ((), ())), ...): 2^60 leaves
        nested += b"0h\x00h\x00\x86q\x00"
    for program in (
        b"\x80\x02}" + nested[2:] + b"K\x01s.",  # as a key
        b"\x80\x02}X\x08\x00\x00\x000.weight" + nested[2:] + b"s.",
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",  # a dictionary in itself
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
        b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    ):
        assert verdict("nested pickle", lambda p=program: load(tmp_path / "n.pt", archive(p)), same, WeightsError)


def test_names_that_reach_out_of_the_archive(tmp_path: Path) -> None:
    """Nothing is extracted: a name is only a name."""
    before = set(tmp_path.rglob("*"))
    good = good_pickle(tmp_path)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr("../data.pkl", good)
        target.writestr("/etc/data.pkl", good)
        for i, w in enumerate(WEIGHTS):
            target.writestr(f"../data/{i}", w.T.tobytes())
    verdict("zip path", lambda: load(tmp_path / "z.pt", stream.getvalue()), same, WeightsError)
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "w.pt", tmp_path / "z.pt"}
    assert not (tmp_path.parent / "data.pkl").exists()


def test_the_tally(capsys: pytest.CaptureFixture[str]) -> None:
    """What the tests above have tried; an escape would have failed one of them."""
    with capsys.disabled():
        print(f"\n{table()}")
    assert sum(c["refused"] for c in TALLY.values()) > 0

"""Options of the main job: the table of defaults, and one line for every value that cannot be used."""

from __future__ import annotations

import json
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends import BackendUnavailableError, available_backends, get_backend
from simulator import Conv, Dense, MaxPool, mlp, sequential, vgg12
from validation.bounds.job import bounds
from validation.compare.__main__ import main, parser
from validation.compare.job import compare
from validation.compare.options import DEFAULT_RECORDS, Options, build_network
from validation.errors import OptionError
from validation.exact.job import run_exact
from validation.ladder.job import LadderOptions
from validation.maxent.job import maxent
from validation.phase.job import PhaseOptions
from validation.run.plain_options import WholeOptions

DEFAULTS = {
    "backend": None, "dtype": None, "tf32": False, "data": "auto", "data_root": "data", "classes": None,
    "network": "auto", "weights": None, "weights_names": None, "weights_key": None,
    "examples": None, "spectrum_examples": None, "epochs": 40, "record": (0, 1, 2, 3, 5, 10, 15, 40),
    "rate_drops": (),
    "batch_size": 128, "learning_rate": 0.01, "momentum": 0.9, "loss": "hinge",
    "temperature": 0.0, "e_step": "zero_temperature", "gate_draws": None, "probes": 4, "steps": 60, "eta": 0.05,
    "seed": 0, "entries": False, "entry_examples": None, "structure": False, "whole": False,
    "prediction_seconds": 120.0, "prediction_examples": None, "draws": 2,
    "out": "runs/digits", "resume": False, "stop_after": None, "quick": False, "save_seconds": 60.0, "memory": None,
}  # fmt: skip


def as_dict(options: Options) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in fields(options)}


def test_the_table_of_defaults() -> None:
    assert as_dict(Options().completed()) == DEFAULTS
    assert (Options().resolve_backend(images=False).name, Options().resolve_backend(images=False).dtype) == (
        "numba",
        "float64",
    )
    assert Options().resolve_backend(images=True).dtype == "float32"
    assert Options(dtype="float64").resolve_backend(images=True).dtype == "float64"
    assert Options(dtype="float32", backend="numpy").resolve_backend(images=False).dtype == "float32"


def test_the_command_line_has_the_same_defaults() -> None:
    given = vars(parser().parse_args([]))
    assert as_dict(Options(**given).completed()) == DEFAULTS


def test_every_option_of_the_command_line() -> None:
    line = (
        "--backend numpy --dtype float32 --data digits --data-root d --classes 0:1 --network mlp:8 --weights w.pt "
        "--weights-names a,b --weights-key model "
        "--examples 50 "
        "--spectrum-examples 20 --epochs 9 --record 9,0,3,3 --batch-size 10 --learning-rate 0.5 --momentum 0 "
        "--rate-drops 2,5 "
        "--temperature 0 --e-step zero_temperature "
        "--loss squared --probes 2 --steps 7 --eta 0.1 --prediction-seconds 9 --prediction-examples 8 "
        "--draws 3 --entries --entry-examples 40 --structure --whole --seed 3 --out o --resume --tf32 --stop-after 5 "
        "--save-seconds 5 --memory 8GB --quick"
    )
    expected = {
        "backend": "numpy", "dtype": "float32", "data": "digits", "data_root": "d", "classes": "0:1",
        "network": "mlp:8", "weights": "w.pt", "weights_names": ("a", "b"), "weights_key": "model",
        "examples": 50, "spectrum_examples": 20, "epochs": 9, "record": (0, 3, 9),
        "batch_size": 10, "rate_drops": (2, 5),
        "learning_rate": 0.5, "momentum": 0.0, "loss": "squared", "probes": 2, "steps": 7,
        "temperature": 0.0, "e_step": "zero_temperature", "gate_draws": None,
        "eta": 0.1, "prediction_seconds": 9.0, "prediction_examples": 8, "draws": 3,
        "entries": True, "entry_examples": 40, "structure": True, "whole": True, "seed": 3,
        "out": "o", "resume": True, "quick": True, "tf32": True, "stop_after": 5.0,
        "save_seconds": 5.0, "memory": "8GB",
    }  # fmt: skip
    given = vars(parser().parse_args(line.split()))
    assert set(expected) == {field.name for field in fields(Options)}
    assert given == expected
    assert as_dict(Options(**given).completed()) == expected | {"memory": 8_000_000_000}


def test_gates_at_a_temperature_have_defaults_of_their_own() -> None:
    line = "--temperature 0.5 --e-step posterior --gate-draws 3 --loss logistic"
    given = vars(parser().parse_args(line.split()))
    hot = Options(**given).completed()
    assert (hot.temperature, hot.e_step, hot.gate_draws) == (0.5, "posterior", 3)
    plain, quick = (Options(temperature=0.5, quick=quick).completed() for quick in (False, True))
    assert (plain.e_step, plain.gate_draws, quick.gate_draws) == ("monte_carlo", 4, 2)
    assert hot.identity() != plain.identity() != Options().completed().identity()


def test_quick_shortens_what_was_not_given() -> None:
    quick = Options(quick=True).completed()
    assert (quick.epochs, quick.record, quick.steps) == (5, (0, 1, 5), 30)
    chosen = Options(quick=True, epochs=7, steps=50, spectrum_examples=60).completed()
    assert (chosen.epochs, chosen.record, chosen.steps, chosen.spectrum_examples) == (7, (0, 1, 5, 7), 50, 60)


@pytest.mark.parametrize(
    ("epochs", "record"),
    [
        (15, DEFAULT_RECORDS),
        (40, (*DEFAULT_RECORDS, 40)),
        (300, (*DEFAULT_RECORDS, 300)),
        (7, (0, 1, 2, 3, 5, 7)),
        (5, (0, 1, 2, 3, 5)),
        (1, (0, 1)),
        (0, (0,)),
    ],
)
def test_default_records_end_with_the_last_epoch(epochs: int, record: tuple[int, ...]) -> None:
    assert Options(epochs=epochs).completed().record == record


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", -1, "--epochs -1: expected an integer >= 0"),
        ("epochs", 2.5, "--epochs 2.5: expected an integer >= 0"),
        ("batch_size", 0, "--batch-size 0: expected an integer >= 1"),
        ("batch_size", True, "--batch-size True: expected an integer >= 1"),
        ("probes", 0, "--probes 0: expected an integer >= 1"),
        ("steps", 1, "--steps 1: expected an integer >= 2"),
        ("save_seconds", -1.0, "--save-seconds -1.0: expected a number >= 0"),
        ("memory", "much", "--memory: size 'much' is not usable: use a number of bytes or one such as 8GB, 500MB"),
        ("memory", "0", "--memory: size '0' is not usable"),
        ("seed", -5, "--seed -5: expected an integer >= 0"),
        ("rate_drops", (5, 2), "--rate-drops [5, 2]: expected increasing epochs"),
        ("rate_drops", (40,), "--rate-drops [40]: expected increasing epochs from 1 on, below --epochs 40"),
        ("learning_rate", 0.0, "--learning-rate 0.0: expected a number > 0"),
        ("learning_rate", float("nan"), "--learning-rate nan: expected a number > 0"),
        ("learning_rate", float("inf"), "--learning-rate inf: expected a number > 0"),
        ("eta", -0.05, "--eta -0.05: expected a number > 0"),
        ("momentum", 1.0, "--momentum 1.0: expected a number in [0, 1)"),
        ("momentum", -0.1, "--momentum -0.1: expected a number in [0, 1)"),
        ("momentum", float("nan"), "--momentum nan: expected a number in [0, 1)"),
        ("record", (0, 41), "--record [0, 41]: expected increasing epochs between 0 and --epochs 40"),
        ("record", (-1, 3), "--record [-1, 3]: expected increasing epochs"),
        ("record", (), "--record []: expected increasing epochs"),
        ("record", (5, 1), "--record [5, 1]: expected increasing epochs"),
        ("record", (1, 1), "--record [1, 1]: expected increasing epochs"),
        ("weights_names", ("a",), "--weights-names ('a',): it is for --weights, give the file"),
        ("weights_key", "model", "--weights-key 'model': it is for --weights, give the file"),
        ("dtype", "float16", "--dtype 'float16': expected float64 or float32"),
        (
            "loss",
            "mse",
            "--loss: loss 'mse' is unknown: use one of hinge, perceptron, logistic, squared, squared_hinge",
        ),
    ],
)
def test_a_bad_value_is_named_in_one_line(option: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options(**{option: value}).completed()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


NUMPY: dict[str, tuple[Any, Any]] = {  # given, kept
    "epochs": (np.int64(3), 3), "examples": (np.uint8(50), 50), "steps": (np.array(7), 7), "seed": (np.int32(2), 2),
    "learning_rate": (np.float32(0.5), 0.5), "momentum": (0, 0.0), "eta": (Fraction(1, 4), 0.25),
    "entries": (np.bool_(True), True), "quick": (np.array(False), False), "network": (np.str_("mlp:4"), "mlp:4"),
    "record": (np.array([0, 2]), (0, 2)), "out": (Path("a") / "b", "a/b"), "data": (Path("digits"), "./digits"),
    "weights": (Path("w.pt"), "w.pt"), "memory": (np.int64(10**9), 10**9), "prediction_seconds": (Decimal("2.5"), 2.5),
    "stop_after": (np.float64(9), 9.0), "batch_size": (10**30, 10**30),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
def test_what_python_gives_is_kept_as_plain_values(name: str) -> None:
    given, kept = NUMPY[name]
    value = getattr(Options(**{"epochs": 40, name: given}), name)
    assert value == kept
    assert type(value) is type(kept)
    assert not isinstance(value, tuple) or {type(v) for v in value} == {int}


def test_the_options_of_a_run_are_json_whatever_they_were_given_as() -> None:
    given = {name: value for name, (value, _) in NUMPY.items() if name != "weights"}
    kept = {name: value for name, (_, value) in NUMPY.items() if name != "weights"}
    first, second = (Options(**options).completed().identity() for options in (given, kept))
    assert json.dumps(first) == json.dumps(second)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 3.0, "--epochs 3.0: expected an integer >= 0"),
        ("epochs", np.float64(3), "expected an integer >= 0"),
        ("epochs", "3", "--epochs '3': expected an integer >= 0"),
        ("seed", np.bool_(True), "expected an integer >= 0"),
        ("seed", None, "--seed None: expected an integer >= 0"),
        ("examples", True, "--examples True: expected an integer"),
        ("examples", np.array([3]), "--examples array([3]): expected an integer"),
        ("spectrum_examples", 2.5, "--spectrum-examples 2.5: expected an integer"),
        ("entry_examples", 1, "--entry-examples 1: expected an integer >= 2"),
        ("prediction_examples", 0, "--prediction-examples 0: expected an integer >= 1"),
        ("steps", 10**21, f"--steps {10**21}: expected at most 1,000,000"),
        ("learning_rate", "fast", "--learning-rate 'fast': expected a number"),
        ("learning_rate", True, "--learning-rate True: expected a number"),
        ("eta", 1j, "--eta 1j: expected a number"),
        ("eta", 10**400, "expected a number"),
        ("quick", 1, "--quick 1: expected True or False"),
        ("entries", "no", "--entries 'no': expected True or False"),
        ("record", 5, "--record 5: expected a list, each an integer"),
        ("record", "0,5", "--record '0,5': expected a list, each an integer"),
        ("record", [0, 2.0], "--record [0, 2.0]: expected a list, each an integer"),
        ("record", np.zeros((2, 2), int), "expected a list, each an integer"),
        ("network", 8, "--network 8: expected a text"),
        ("network", Path("mlp:8"), "expected a text"),
        ("backend", get_backend("numpy"), "expected a text"),
        ("data", np.zeros(2000), "expected a text"),
        ("memory", 0.5, "--memory 0.5: expected an integer or a text"),
    ],
)
def test_what_has_another_type_is_refused_in_a_sentence(name: str, value: Any, expected: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options(**{name: value}).completed()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_options_of_the_other_jobs_are_plain_too() -> None:
    ladder = LadderOptions(widths=np.array([4, 6]), hidden=[np.array([3, 2])], examples=np.int64(30), rungs=["R0"])
    assert (ladder.widths, ladder.hidden, ladder.examples) == ((4, 6), ((3, 2),), 30)
    json.dumps(ladder.completed().kept())
    phase = PhaseOptions(widths=range(2, 4), seeds=np.arange(2), updates=np.int16(9), out=Path("x")).completed()
    json.dumps([phase.kept(), phase.cell_options])
    assert (phase.widths, phase.seeds, phase.updates, phase.out) == ((2, 3), (0, 1), 9, "x")
    assert WholeOptions(seed=np.int64(5), quick=np.bool_(True)) == WholeOptions(seed=5, quick=True)
    for command in (run_exact, bounds, maxent):
        with pytest.raises(OptionError, match=r"--backend .* expected a text"):
            command(backend=get_backend("numpy"))
        with pytest.raises(OptionError, match=r"--seed 1.0: expected an integer >= 0"):
            command(seed=1.0)
    with pytest.raises(OptionError, match=r"--hidden .*: expected a list, each a list, each an integer"):
        LadderOptions(hidden=[3])  # type: ignore[list-item]
    with pytest.raises(OptionError, match=r"--seeds 3: expected a list, each an integer"):
        compare(seeds=3)
    with pytest.raises(OptionError, match=r"--workers 2.0: expected an integer"):
        compare(seeds=[1], workers=2.0)


def test_the_edges_are_allowed() -> None:
    done = Options(epochs=0, record=(0,), batch_size=1, probes=1, steps=2, momentum=0.0, loss="logistic").completed()
    assert done.record == (0,)


def test_backends_are_resolved_or_refused() -> None:
    with pytest.raises(ValueError, match="backend 'fortran' is unknown: use one of numpy, numba, cupy"):
        Options(backend="fortran").resolve_backend(images=False)
    if "cupy" in available_backends():
        assert Options(backend="cupy").resolve_backend(images=False).name == "cupy"
    else:
        with pytest.raises(BackendUnavailableError, match="use --backend numba"):
            Options(backend="cupy").resolve_backend(images=False)


def test_what_makes_two_runs_the_same() -> None:
    """Everything but where it is written, whether it is resumed and how long a piece of it is."""
    base = Options().completed().identity()
    kept: dict[str, Any] = {"out": "elsewhere", "resume": True, "stop_after": 9.0, "save_seconds": 5.0, "memory": "8GB"}
    assert Options(**kept).completed().identity() == base
    assert set(base) == set(DEFAULTS) - set(kept)
    assert Options(seed=1).completed().identity() != base
    assert Options(record=[0, 1, 2, 3, 5, 10, 15, 40]).completed().identity() == base
    assert Options(data=Path("a/b"), data_root=Path("c")).completed().identity()["data"] == "a/b"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shape", "name", "expected"),
    [
        ("auto", (64,), "mlp:64x64x64", mlp([64, 64, 64, 64, 1])),
        ("auto", (32, 32, 3), "vgg12:0.25", vgg12(0.25)),
        ("mlp:7", (4,), "mlp:7", mlp([4, 7, 1])),
        ("mlp:7x3", (2, 2, 3), "mlp:7x3", mlp([12, 7, 3, 1])),
        ("vgg12", (32, 32, 1), "vgg12", vgg12(1.0, (32, 32, 1))),
        ("vgg12:0.1", (40, 32, 3), "vgg12:0.1", vgg12(0.1, (40, 32, 3))),
        (
            "seq:conv8,pool,conv4,pool3,dense5",
            (12, 12, 1),
            "seq:conv8,pool,conv4,pool3,dense5",
            sequential((12, 12, 1), [Conv(8), MaxPool(), Conv(4), MaxPool(3), Dense(5), Dense(1)]),
        ),
        ("seq:dense5", (3,), "seq:dense5", mlp([3, 5, 1])),
    ],
)
def test_networks(text: str, shape: tuple[int, ...], name: str, expected: Any) -> None:
    assert build_network(text, shape) == (name, expected)


@pytest.mark.parametrize(
    ("text", "shape", "reason"),
    [
        ("resnet", (64,), "is unknown: expected auto, mlp:W1xW2x..., vgg12[:WIDTH] or seq:conv8,pool,dense8"),
        ("", (64,), "is unknown: expected auto"),
        ("mlp", (64,), "expected mlp:W1xW2x..."),
        ("mlp:", (64,), "expected mlp:W1xW2x..."),
        ("mlp:8,8", (64,), "expected mlp:W1xW2x..."),
        ("mlp:8x", (64,), "expected mlp:W1xW2x..."),
        ("mlp:8x0", (64,), "width 0 is not a size"),
        ("mlp:-3", (64,), "width -3 is not a size"),
        ("vgg12:wide", (32, 32, 3), "expected mlp:W1xW2x..., vgg12[:WIDTH]"),
        ("vgg12:0", (32, 32, 3), "width 0.0 is not a multiplier"),
        ("vgg12:nan", (32, 32, 3), "width nan is not a multiplier"),
        ("vgg12:inf", (32, 32, 3), "width inf is not a multiplier"),
        ("vgg12", (64,), "convolutions"),
        ("vgg12", (16, 16, 3), "the network is too deep for the image"),
        ("seq:", (8, 8, 1), "layer '' is unknown: use convC, pool, avg or denseN"),
        ("seq:conv8,,dense8", (8, 8, 1), "layer '' is unknown"),
        ("seq:lstm4", (8, 8, 1), "layer 'lstm4' is unknown"),
        ("seq:conv,dense8", (8, 8, 1), "expected mlp:W1xW2x..."),
        ("seq:conv8x,dense8", (8, 8, 1), "expected mlp:W1xW2x..."),
        ("seq:conv0", (8, 8, 1), "number of channels 0 is not a size"),
        ("seq:pool0", (8, 8, 1), "pooling size 0 is not a size"),
        ("seq:dense4,conv4", (8, 8, 1), "follows a dense layer"),
        ("seq:conv4,pool,pool,pool,pool", (8, 8, 1), "the network is too deep for the image"),
        ("seq:conv4", (64,), "convolutions"),
    ],
)
def test_a_bad_network_is_named_in_one_line(text: str, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(OptionError) as caught:
        build_network(text, shape)
    message = str(caught.value)
    assert message.startswith(f"--network {text!r}")
    assert reason in message
    assert "\n" not in message


def images(folder: Path, names: dict[str, bytes | None]) -> str:
    """A folder of 8×8 pictures; bytes instead of None are written as they are."""
    for index, (name, content) in enumerate(names.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
        elif name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(content)
    return str(folder)


PICTURES: dict[str, bytes | None] = {f"train/{kind}/{i}.png": None for kind in "ab" for i in range(3)}
USAGE: dict[str, tuple[str, str]] = {
    "unknown option": ("--frobnicate 3", "unrecognized arguments: --frobnicate 3"),
    "abbreviated option": ("--net mlp:8", "unrecognized arguments: --net mlp:8"),
    "no number": ("--epochs many", "argument --epochs: invalid int value: 'many'"),
    "no epochs": ("--record 1;2", "argument --record: invalid"),
    "stray word": ("digits", "unrecognized arguments: digits"),
    "backend": ("--backend fortran", "backend 'fortran' is unknown: use one of numpy, numba, cupy"),
    "tf32 on a CPU": ("--tf32", "TF32 is not for backend 'numba' in float32"),
    "stop": ("--stop-after 0", "--stop-after 0.0: expected a number of seconds > 0"),
    "dtype": ("--dtype half", "--dtype 'half': expected float64 or float32"),
    "data": ("--data nowhere", "data is 'nowhere', which does not exist"),
    "file as data": ("--data {tmp}/file", "not a ZIP archive"),
    "empty folder": ("--data {tmp}/empty", "has no train/ folder"),
    "no image": ("--data {tmp}/hollow", "class 'b' in train/ of"),
    "unreadable image": ("--data {tmp}/broken", "'train/b/bad.png' in"),
    "class": ("--classes 0:11", "with the unknown class '11'"),
    "one side": ("--classes 3", "expected NEG:POS"),
    "no example": ("--examples 0", "examples is 0, but 1,437 training examples of these classes are available"),
    "negative examples": ("--examples -5", "examples is -5"),
    "too many": ("--examples 2000", "examples is 2000"),
    "no spectrum": ("--spectrum-examples 0", "spectrum_examples is 0"),
    "network": ("--network resnet", "--network 'resnet' is unknown"),
    "images needed": ("--network vgg12", "--network 'vgg12' on inputs of shape (64,)"),
    "too deep": ("--data {tmp}/images --network vgg12:0.1", "the network is too deep for the image"),
    "also by default": ("--data {tmp}/images", "--network 'vgg12:0.25' on inputs of shape (8, 8, 1)"),
    "loss": ("--loss mse", "--loss: loss 'mse' is unknown"),
    "temperature": ("--temperature -1", "--temperature -1.0: expected a number >= 0"),
    "e-step": ("--temperature 1 --e-step exact", "expected monte_carlo or posterior at --temperature 1"),
    "size": ("--batch-size 0", "--batch-size 0: expected an integer >= 1"),
    "rate": ("--learning-rate -1", "--learning-rate -1.0: expected a number > 0"),
    "steps": ("--steps 1", "--steps 1: expected an integer >= 2"),
    "record": ("--record 0,50", "--record [0, 50]: expected increasing epochs between 0 and --epochs 40"),
    "out": ("--out {tmp}/file", "a file is in the way; name a folder that can be made"),
    "below a file": ("--out {tmp}/file/run", "a file is in the way"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    (root / "file").write_text("mine")
    (root / "empty").mkdir()
    images(root / "images", PICTURES)
    images(root / "hollow", {"train/a/0.png": None, "train/b/": b""})
    images(root / "broken", PICTURES | {"train/b/bad.png": b"\x89PNG and no more"})
    return root


def usage_error(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command line that ends with exit 2, having printed and written nothing."""
    given = [] if "--out" in line else ["--out", str(folder / "never")]
    given += [] if "--data " in line else ["--data", "digits"]
    status: object
    try:
        status = main([*line.split(), *given])
    except SystemExit as stopped:  # how argparse ends
        status = stopped.code
    printed = capsys.readouterr()
    said = [line for line in printed.out.splitlines() if not line.startswith("      reading the data")]  # a slow disk
    assert (status, said) == (2, [])
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    assert not (folder / "never").exists()
    return printed.err


@pytest.mark.parametrize("name", USAGE)
def test_bad_usage_exits_2_with_one_line(name: str, places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, message = USAGE[name]
    assert message in usage_error(line.format(tmp=places), places, capsys)


@pytest.mark.skipif("cupy" in available_backends(), reason="CuPy is usable here")
def test_a_backend_that_cannot_run_here_exits_2(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = usage_error("--backend cupy", places, capsys)
    assert message.startswith("validation.compare: backend 'cupy' needs")
    assert "use --backend numba" in message

"""`python -m validation.gates`: gates at temperatures through training, of a small network and of one of any size.

From Python: ``gates(network="mlp:64x64x64", temperatures=(0.3, 1.0), out="runs/gates")``, options as on the command
line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from backends import Backend, get_backend
from simulator import Network, network_from_text, train_epochs
from simulator.enumeration.gates import check_size, n_gates
from simulator.passes.losses import get_loss
from simulator.thermal.walk import largest_entropy
from validation.data import Dataset, load_dataset
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cells import CellStore
from validation.run.console import Stage, say

from .answer import answer
from .cell import Array, CellOptions, Record, cell_name, measure_cell
from .claims import claims_of
from .summary import summarise

DEFAULTS: dict[str, Any] = {"epochs": 40, "temperatures": (0.1, 0.3, 1.0, 3.0)}
QUICK: dict[str, Any] = {"epochs": 5, "temperatures": (0.3, 1.0)}
RECORDS, QUICK_RECORDS = (0, 1, 2, 3, 5, 10, 20), (0, 1)  # and the last epoch
SIZES = {"measured": (200, 48), "searched": (100, 12), "draws": (20, 4)}  # of vectors, of images
QUICK_SIZES = {"measured": (60, 12), "searched": (20, 4), "draws": (10, 2)}
MOST_CONFIGURATIONS = 1 << 26  # of the small network times the examples, at one epoch and temperature: seconds
COLDEST = 1e-3  # an energy over a colder temperature is not worth its digits


@dataclass(frozen=True)
class GatesOptions(CellOptions):
    """What the command line takes; None: the default, which depends on the data and which `quick` makes smaller."""

    ELSEWHERE = ("out", "resume", "epochs", "record")  # a run grows in its folder by later epochs and more records

    LEAST = {  # noqa: RUF012
        "examples": 2, "measured": 2, "searched": 2, "draws": 2, "search_steps": 1, "batch_size": 1, "seed": 0,
        "epochs": 0,
    }  # fmt: skip

    epochs: int | None = None
    record: Sequence[int] | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> GatesOptions:
        """Defaults that need no data filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("gates"))
        epochs = done.epochs or 0
        if done.record is None:
            usual = QUICK_RECORDS if self.quick else RECORDS
            done = replace(done, record=tuple(sorted({e for e in usual if e <= epochs} | {epochs})))
        done.check()
        return done

    def sized(self, images: bool, available: int) -> GatesOptions:
        """The defaults that depend on the data filled in; no more examples are searched than measured."""
        sizes = QUICK_SIZES if self.quick else SIZES
        measured = min(sizes["measured"][images], available) if self.measured is None else self.measured
        searched = min(sizes["searched"][images], measured) if self.searched is None else self.searched
        draws = sizes["draws"][images] if self.draws is None else self.draws
        if searched > measured:
            raise OptionError(f"--searched {searched}: expected at most --measured {measured}")
        return replace(self, measured=measured, searched=searched, draws=draws)

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        temperatures = list(self.temperatures or ())
        if not temperatures or temperatures != sorted(set(temperatures)) or not all(map(_usable, temperatures)):
            raise OptionError(
                f"--temperatures {','.join(f'{t:g}' for t in temperatures)}: expected increasing numbers >= {COLDEST:g}"
            )
        epochs, record = self.epochs or 0, list(self.record or ())
        if not record or record != sorted(set(record)) or not 0 <= record[0] <= record[-1] <= epochs:
            raise OptionError(f"--record {record}: expected increasing epochs between 0 and --epochs {epochs}")
        self.check_schedule()
        if self.dtype not in (None, "float64", "float32"):
            raise OptionError(f"--dtype {self.dtype!r}: expected float64 or float32")
        try:
            get_loss(self.loss)
        except ValueError as error:
            raise OptionError(f"--loss: {error}") from None


def _usable(temperature: float) -> bool:
    return math.isfinite(temperature) and temperature >= COLDEST


class GatesReport(FinishedRun):
    """A finished run: ``data`` is the content of gates.json, ``path`` the folder it stands in."""

    KIND = "gates"
    PICTURE = ("most_probable", "how often the ReLU gates are the most probable ones, through training")

    def answer(self) -> str:
        """How often the ReLU gates are the most probable ones, and at how many temperatures the free energy falls."""
        return answer(self.data)


GATES = Experiment("gates", GatesReport)


def gates(**options: Any) -> GatesReport:
    """Train, and measure the gates at every recorded epoch; write gates.json, gates.html and figures/*.png to `out`.

    Options as `GatesOptions`. Raises `OptionError`, `DataError`, `StorageError` or `BackendUnavailableError` before any
    work is done, and `simulator.TrainingDivergedError`. Cells, one for each network and recorded epoch, are written as
    they finish; `resume` keeps them.
    """
    chosen = GatesOptions(**options).completed()
    get_backend(chosen.backend, chosen.dtype or "float64")
    data, chosen = _load(chosen)
    ops = get_backend(chosen.backend, chosen.dtype or ("float32" if data.x.ndim == 4 else "float64"))
    networks = _networks(chosen, data)
    store = CellStore(chosen.folder(), chosen.cell_options)
    say(f"data: {data.source}")

    def measured() -> list[Record]:
        parts = (_cells(chosen, role, network, data, ops, store) for role, (_, network) in networks.items())
        return list(chain.from_iterable(parts))

    def reported(cells: list[Record]) -> Record:
        head = GATES.head(chosen.kept(), ops, seed=chosen.seed, dataset=data.source)
        return head | _summary(networks, cells, ops)

    return GATES.in_cells(store, chosen.resume, measured, reported)


def _load(options: GatesOptions) -> tuple[Dataset, GatesOptions]:
    """The data, with the measured examples as their subset; sizes that depend on the data filled in."""

    def load(measured: int) -> Dataset:
        return load_dataset(
            options.data, options.data_root, options.classes, options.examples, measured, options.seed, options.dtype
        )

    with Stage("reading the data"):
        data = load(2 if options.measured is None else options.measured)
        done = options.sized(data.x.ndim == 4, data.y.size)
        if options.measured is None:
            data = load(done.measured or 2)
    return data, done


def _networks(options: GatesOptions, data: Dataset) -> dict[str, tuple[str, Network]]:
    """Name and network by role; `OptionError` for one that cannot be, or for a small one that is too large."""
    shape = data.x.shape[1:]
    usual = "vgg12:0.25" if len(shape) == 3 else "mlp:64x64x64"
    texts = {"small": options.small, "network": usual if options.network == "auto" else options.network}
    found = {}
    for role, text in texts.items():
        try:
            found[role] = (text, network_from_text(text, shape))
        except ValueError as error:
            raise OptionError(f"--{role} {text!r} on inputs of shape {shape}: {error}") from None
    _check_small(found["small"][1], options)
    return found


def _check_small(network: Network, options: GatesOptions) -> None:
    """`OptionError` where the small network is not dense, or has too many gates."""
    if any(layer.convolutional or layer.pools for layer in network.layers) or network.input_pools:
        raise OptionError(f"--small {options.small!r}: expected a perceptron, such as mlp:6x6x4")
    try:
        check_size(network, options.measured or 1, MOST_CONFIGURATIONS)
    except ValueError as error:
        raise OptionError(
            f"--small {options.small!r} has {n_gates(network)} gates, and --measured is {options.measured}: {error}"
        ) from None


def _cells(
    options: GatesOptions, role: str, network: Network, data: Dataset, ops: Backend, store: CellStore
) -> list[Record]:
    """The cells of a network in the order of epochs: those on disk, and those computed now."""
    names = {epoch: cell_name(role, epoch) for epoch in options.record or ()}
    found = {epoch: cell for epoch, name in names.items() if (cell := store.load(name)) is not None}
    missing = set(names) - set(found)
    if missing:
        for epoch, weights in _states(options, network, data, max(missing), ops):
            if epoch not in missing:
                continue
            with Stage(f"{role}, epoch {epoch}"):
                cell = measure_cell(options, role, epoch, network, weights, data, ops, exact=role == "small")
            store.save(names[epoch], cell)
            found[epoch] = cell
            say(f"{role:<8} epoch {epoch:>4}  risk {cell['risk']:<8.3g}  ({cell['cpu_seconds']:.1f} s)")
    return [found[epoch] for epoch in names]


def _states(
    options: GatesOptions, network: Network, data: Dataset, epochs: int, ops: Backend
) -> Iterator[tuple[int, Sequence[Array]]]:
    """(epoch, weights) from random weights on: the training of `validation.compare` with these options."""
    weights = network.init(options.seed)
    trained = train_epochs(
        network, weights, data.x, data.y, epochs=epochs, batch_size=options.batch_size,
        learning_rate=options.learning_rate, momentum=options.momentum, loss=options.loss, seed=options.seed,
        backend=ops,
    )  # fmt: skip
    return chain([(0, weights)], ((state.epoch, state.weights) for state in trained))


def _summary(networks: Mapping[str, tuple[str, Network]], cells: Sequence[Record], ops: Backend) -> Record:
    """``networks``, with the means of each, and ``checks``, the claims on them."""
    told, checks = {}, []
    for role, (name, network) in networks.items():
        own = [cell for cell in cells if cell["role"] == role]
        made = summarise(own)
        told[role] = {"name": name, "weights": network.n_weights, "gates": n_gates(network)}
        told[role] |= {"largest_entropy": largest_entropy(network), **made}
        checks += [claim.record() for claim in claims_of(role, own, made, ops.dtype)]
    return {"networks": told, "checks": checks}

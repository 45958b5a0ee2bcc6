"""Options of the main job, with the defaults that depend on the data."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from backends import Backend, get_backend
from simulator import Network, network_from_text
from simulator.network.text import FORMS, KINDS
from simulator.passes.losses import get_loss
from validation.data import Arrays, data_name, given_arrays
from validation.errors import OptionError
from validation.interchange import file_digest
from validation.interchange.given import GivenNetwork, GivenWeights
from validation.run.budget import parse_size
from validation.run.console import printable
from validation.run.plain_options import PlainOptions
from validation.statistics.distances import LEAST_ETA

DEFAULT_EPOCHS = 40  # the digits reach risk 0 between 20 and 40, seeds 0 to 3
DEFAULT_RECORDS = (0, 1, 2, 3, 5, 10, 15)  # where the spectrum changes; and the last epoch
QUICK_SPECTRUM_EXAMPLES = 100
DROP = 0.1  # of the learning rate after each of --rate-drops
MOST_ETA = 1000.0  # rms: nothing is left of a spectrum smoothed by more


@dataclass(frozen=True)
class Options(PlainOptions):
    """What `python -m validation.compare` takes; None: a default that depends on the data or on another option."""

    # One Lanczos step sees no tr H², which every scale of the report is made of.
    LEAST = {  # noqa: RUF012
        "epochs": 0, "batch_size": 1, "probes": 1, "steps": 2, "seed": 0, "prediction_examples": 1, "draws": 1,
        "entry_examples": 2, "gate_draws": 1,
    }  # fmt: skip

    ELSEWHERE = ("out", "resume", "save_seconds", "stop_after", "memory")

    backend: str | None = None
    dtype: str | None = None
    tf32: bool = False
    data: str | Arrays = "auto"
    data_root: str = "data"
    classes: str | None = None
    network: str | GivenNetwork = "auto"
    weights: str | GivenWeights | None = None
    weights_names: Sequence[str] | None = None
    weights_key: str | None = None
    examples: int | None = None
    spectrum_examples: int | None = None
    epochs: int | None = None
    record: Sequence[int] | None = None
    batch_size: int = 128
    learning_rate: float = 0.01
    rate_drops: Sequence[int] = ()
    momentum: float = 0.9
    loss: str = "hinge"
    temperature: float = 0.0
    e_step: str | None = None
    gate_draws: int | None = None
    probes: int = 4
    steps: int | None = None
    eta: float = 0.05
    prediction_seconds: float | None = None
    prediction_examples: int | None = None
    draws: int | None = None
    entries: bool = False
    entry_examples: int | None = None
    structure: bool = False
    whole: bool = False
    seed: int = 0
    out: str | None = None
    resume: bool = False
    save_seconds: float = 60.0
    stop_after: float | None = None
    memory: int | str | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        """Arrays, networks and weights in memory, each in the one form in which a run keeps it."""
        given: dict[str, Any] = {}
        if isinstance(self.data, (tuple, list)):
            given["data"] = given_arrays(self.data)
        if isinstance(self.network, Network):
            given["network"] = GivenNetwork(self.network)
        if not isinstance(self.weights, (str, os.PathLike, GivenWeights, type(None))):
            given["weights"] = GivenWeights(self.weights)
        for name, value in given.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    def completed(self) -> Options:
        """Defaults that need no data filled in (`quick` shortens what was not given), values checked."""
        epochs = (5 if self.quick else DEFAULT_EPOCHS) if self.epochs is None else self.epochs
        steps = (30 if self.quick else 60) if self.steps is None else self.steps
        record = self.record
        if record is None:
            record = sorted({e for e in ((0, 1, 5) if self.quick else DEFAULT_RECORDS) if e <= epochs} | {epochs})
        seconds = (5.0 if self.quick else 120.0) if self.prediction_seconds is None else self.prediction_seconds
        try:
            memory = parse_size(self.memory) if isinstance(self.memory, str) else self.memory
        except ValueError as error:
            raise OptionError(f"--memory: {error}") from None
        done = replace(
            self, memory=memory, epochs=epochs, steps=steps, record=tuple(record), prediction_seconds=seconds,
            draws=max(2, self.probes // 2) if self.draws is None else self.draws, out=self._folder(),
            **self._of_gates(),
        )  # fmt: skip
        done.check()
        return done

    def _of_gates(self) -> dict[str, Any]:
        """The E-step and the draws of the gates that belong to the temperature, where they were not given."""
        hot = self.temperature > 0.0
        e_step = ("monte_carlo" if hot else "zero_temperature") if self.e_step is None else self.e_step
        draws = (2 if self.quick else 4) if hot and self.gate_draws is None else self.gate_draws
        return {"e_step": e_step, "gate_draws": draws}

    def _folder(self) -> str:
        """`out`, or by default a folder named after the data, the network, the weights, and what else was chosen."""
        words = [data_name(self.data, self.data_root)]
        if self.network != "auto":
            words.append(str(self.network).removeprefix("given: "))
        if self.weights is not None:
            stem = Path(self.weights).stem if isinstance(self.weights, str) else self.weights.digest[:8]
            words.append(f"weights {stem}")
        return self.folder(*words, named=("data", "network", "weights"))

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        for name in ("learning_rate", "eta", "prediction_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise OptionError(f"--{name.replace('_', '-')} {getattr(self, name)!r}: expected a number > 0")
        if self.eta > MOST_ETA:
            raise OptionError(f"--eta {self.eta!r}: expected at most {MOST_ETA:g}, in units of the rms")
        if self.eta < LEAST_ETA:
            raise OptionError(
                f"--eta {self.eta!r}: expected at least {LEAST_ETA:g}, in units of the rms: densities are compared on "
                "a grid with steps of half of it"
            )
        if not (math.isfinite(self.save_seconds) and self.save_seconds >= 0):
            raise OptionError(f"--save-seconds {self.save_seconds!r}: expected a number >= 0")
        if self.stop_after is not None and not self.stop_after > 0:
            raise OptionError(f"--stop-after {self.stop_after!r}: expected a number of seconds > 0")
        if not 0 <= self.momentum < 1:
            raise OptionError(f"--momentum {self.momentum!r}: expected a number in [0, 1)")
        epochs, record = self.epochs or 0, self.record or ()
        wrong = [e for e in record if not 0 <= e <= epochs]
        if wrong or not record or list(record) != sorted(set(record)):
            raise OptionError(f"--record {list(record)}: expected increasing epochs between 0 and --epochs {epochs}")
        drops = list(self.rate_drops)
        if drops != sorted(set(drops)) or any(not 1 <= e < epochs for e in drops):
            raise OptionError(
                f"--rate-drops {drops}: expected increasing epochs from 1 on, below --epochs {epochs}, after which the "
                "learning rate is a tenth"
            )
        self._check_gates()
        for name in ("weights_names", "weights_key"):
            if getattr(self, name) is not None and self.weights is None:
                raise OptionError(
                    f"--{name.replace('_', '-')} {getattr(self, name)!r}: it is for --weights, give the file"
                )
        if self.weights_key is not None and isinstance(self.weights, GivenWeights):
            raise OptionError(f"--weights-key {self.weights_key!r}: it is for a file, give the mapping under that key")
        if self.dtype not in (None, "float64", "float32"):
            raise OptionError(f"--dtype {self.dtype!r}: expected float64 or float32")
        try:
            get_loss(self.loss)
        except ValueError as error:
            raise OptionError(f"--loss: {error}") from None

    def _check_gates(self) -> None:
        """Raise `OptionError` where temperature, E-step, loss and what is measured do not go together."""
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise OptionError(f"--temperature {self.temperature!r}: expected a number >= 0")
        steps = ("zero_temperature",) if self.temperature == 0.0 else ("monte_carlo", "posterior")
        if self.e_step not in steps:
            raise OptionError(
                f"--e-step {self.e_step}: expected {' or '.join(steps)} at --temperature {self.temperature:g}"
            )
        if self.e_step == "posterior" and self.loss != "logistic":
            raise OptionError(f"--e-step posterior: --loss {self.loss} is not a likelihood, use --loss logistic")
        if self.temperature == 0.0:
            if self.gate_draws is not None:
                raise OptionError(f"--gate-draws {self.gate_draws}: it is for a --temperature > 0, give it too")
            return
        for name in ("entries", "structure", "whole", "prediction_examples"):
            if getattr(self, name):
                raise OptionError(
                    f"--{name.replace('_', '-')}: it is for ReLU gates, leave it out or use --temperature 0"
                )

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch of training, counted from 1."""
        return self.learning_rate * DROP ** sum(epoch > last for last in self.rate_drops)

    def resolve_backend(self, images: bool) -> Backend:
        """The backend, with dtype float32 for images and float64 otherwise unless one was given."""
        return get_backend(self.backend, self.dtype or ("float32" if images else "float64"), self.tf32)

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: everything but where, how and in which pieces it is kept."""
        fields = {field.name: getattr(self, field.name) for field in fields_of(self)}
        for name in self.ELSEWHERE:
            fields.pop(name)
        fields |= {name: str(fields[name]) for name in ("data", "network")}  # of arrays their digest
        fields["weights"] = self._weights_digest()
        fields = {name: printable(value) if isinstance(value, str) else value for name, value in fields.items()}
        fields["weights_names"] = None if self.weights_names is None else list(self.weights_names)
        return fields | {"record": list(self.record or ()), "rate_drops": list(self.rate_drops)}

    def _weights_digest(self) -> str | None:
        """A file is what is in it, and so is a mapping."""
        if isinstance(self.weights, GivenWeights):
            return self.weights.digest
        return None if self.weights is None else file_digest(self.weights)


def build_network(text: str | GivenNetwork, input_shape: tuple[int, ...]) -> tuple[str, Network]:
    """(its name, the network) of `simulator.network_from_text`, refused by `OptionError`.

    `auto` is mlp:64x64x64 for vectors, vgg12:0.25 for images.
    """
    if isinstance(text, GivenNetwork):
        return str(text), text.on(input_shape)
    if text == "auto":
        text = "vgg12:0.25" if len(input_shape) == 3 else "mlp:64x64x64"
    if text.partition(":")[0] not in KINDS:
        raise OptionError(f"--network {text!r} is unknown: expected auto, {FORMS}")
    try:
        return text, network_from_text(text, input_shape)
    except ValueError as error:
        raise OptionError(f"--network {text!r} on inputs of shape {input_shape}: {error}") from None

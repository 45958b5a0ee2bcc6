"""A report's numbers as named arrays with named axes: for NumPy's npz, and for xarray and NetCDF."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from validation.errors import StorageError
from validation.run.storage import write_atomic

from .source import HasData

Array = np.ndarray[Any, Any]
Record = Mapping[str, Any]
DISTANCES = ("l1", "w1")
SHARES = ("fraction_negative", "fraction_zero", "fraction_positive")
SCALARS = ("risk", "accuracy", "test_accuracy", "order_parameter", "active_fraction", "dead_layers")
OF_SPECTRUM = ("rms", "minimum", "maximum", "rms_standard_error", "l1_standard_error", "w1_standard_error")
SYMMETRY = (
    "value", "standard_error", "null_95", "p_value", "m3", "m3_standard_error", "skew", "skew_standard_error",
)  # fmt: skip
ESTIMATES = {"": "value", "_standard_error": "standard_error"}
FORECAST = ("risk", "accuracy", "test_accuracy", "order_parameter", "active_fraction")
SETTINGS = ("schema", "version", "complete", "dataset", "network", "loss", "backend", "seed", "eta", "options")


@dataclass(frozen=True)
class Variable:
    """An array with a name for each of its axes."""

    axes: tuple[str, ...]
    values: Array


def to_npz(report: HasData | Mapping[str, Any], path: str | Path) -> None:
    """Write the numbers of a report to an npz file, read by np.load without pickle; what has no number is NaN.

    `report` is a `Report` or the content of a report.json. The arrays are those of `arrays`; ``settings`` is a text,
    JSON, with the data, network, backend and options. An existing file is replaced.
    """
    data = _content(report)
    named: dict[str, Any] = {name: variable.values for name, variable in arrays(data).items()}
    named["settings"] = np.array(_settings(data))
    try:
        write_atomic(Path(path), lambda stream: np.savez(stream, **named))
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written ({error.strerror}): name a file in a writable folder") from None


def to_xarray(report: HasData | Mapping[str, Any]) -> Any:
    """The numbers of a report as an `xarray.Dataset`; ``.to_netcdf(path)`` writes it to NetCDF.

    Axes and variables are those of `arrays`; ``epoch``, ``energy`` (in units of the rms), ``rung`` and ``claim`` are
    coordinates, ``attrs["settings"]`` a JSON text. Needs the package xarray (`ImportError` without it; with
    a writer of NetCDF in umwelt-dnn[xarray]).
    """
    try:
        xarray = importlib.import_module("xarray")
    except ImportError as error:
        raise ImportError(f"xarray cannot be imported ({error}): run pip install 'umwelt-dnn[xarray]'") from None
    data = _content(report)
    variables = {name: (variable.axes, variable.values) for name, variable in arrays(data).items()}
    coordinates = {name: variables.pop(name) for name in list(variables) if variables[name][0] == (name,)}
    return xarray.Dataset(variables, coordinates, {"settings": _settings(data)})


def _content(report: HasData | Mapping[str, Any]) -> Mapping[str, Any]:
    data = getattr(report, "data", report)
    if not isinstance(data, Mapping) or not {"epochs", "claims", "training", *SETTINGS} <= set(data):
        raise ValueError("expected a Report or the content of a comparison's report.json: give what compare returns")
    if not data["epochs"]:
        raise ValueError("the report has no recorded epoch: expected at least one, finish the run")
    return data


def _settings(data: Mapping[str, Any]) -> str:
    return json.dumps({name: data[name] for name in SETTINGS})


def arrays(data: Mapping[str, Any]) -> dict[str, Variable]:
    """Every number of a report by name.

    Of each epoch: scalars (epoch,); the Gauss rule ``nodes`` and ``weights`` (epoch, probe, node) and the recurrence
    ``alpha``, ``beta`` (epoch, probe, step); ``density`` and its ``density_standard_error`` (epoch, energy); shares of
    the spectrum beyond each ``threshold``, ``beyond_negative`` and ``beyond_positive`` (epoch, threshold); the largest
    eigenvalues on either side, ``largest_negative`` and ``largest_positive`` (epoch, rank); symmetry of weights and
    gradient (epoch, layer). Of every rung ``predicted_density`` (epoch, rung, energy), ``l1``, ``w1`` (epoch, rung),
    and where tails were predicted the numbers of eigenvalues ``expected_beyond_negative`` and ``..._positive`` (epoch,
    rung, threshold) and the largest, ``expected_largest_negative`` and ``..._positive`` (epoch, rung, rank); each of
    these with its ``..._standard_error``. What was predicted before training, ``forecast_risk`` and others (epoch,
    forecast_rung, network). Energies and densities are in units of the rms. Of the training:
    ``history_...`` (update). Of the claims: ``claim``, their names, and ``verdict`` (claim,). Shorter rows are filled
    up with NaN.
    """
    try:
        return _arrays(data)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"the report lacks a number or has another form ({reason}): give what compare wrote") from None


def _arrays(data: Mapping[str, Any]) -> dict[str, Variable]:
    records: Sequence[Record] = data["epochs"]
    found = {"epoch": Variable(("epoch",), np.array([r["epoch"] for r in records]))}
    found |= {name: _stacked(_values(records, name)) for name in SCALARS}
    found |= {name: _stacked(_values(records, "spectrum", name)) for name in OF_SPECTRUM}
    for name in SHARES:
        found[name] = _stacked(_values(records, "spectrum", name, "value"))
        found[f"{name}_standard_error"] = _stacked(_values(records, "spectrum", name, "standard_error"))
    for name in SYMMETRY:
        found[f"symmetry_{name}"] = _stacked(_values(records, "spectrum", "symmetry", name))
    for kind in ("weight_symmetry", "gradient_symmetry"):
        for name in ("value", "null", "null_95"):
            rows = [[layer[name] for layer in r[kind]] for r in records]
            found[f"{kind}_{name}"] = _stacked(rows, "layer")
    found["growth"] = _stacked(_values(records, "growth"), "hidden_layer")
    return found | _spectra(records) | _predictions(records) | _forecast(records) | _summary(data)


def _values(records: Sequence[Record], *keys: str) -> list[Any]:
    """What stands under nested keys in every record."""
    found: list[Any] = list(records)
    for key in keys:
        found = [value[key] for value in found]
    return found


def _stacked(rows: Sequence[Any], *axes: str) -> Variable:
    return Variable(("epoch", *axes), _filled(rows, len(axes)))


def _filled(rows: Sequence[Any], ndim: int) -> Array:
    """Rows of `ndim` axes stacked, float64, with NaN for None and where a row is shorter than the longest."""
    parts = [np.array(row, dtype=np.float64) for row in rows]  # None becomes NaN
    parts = [p if p.ndim == ndim else np.empty((0,) * ndim) for p in parts]
    shape = tuple(max(sizes) for sizes in zip(*(p.shape for p in parts), strict=True))
    stacked = np.full((len(parts), *shape), np.nan)
    for row, part in enumerate(parts):
        place: tuple[int | slice, ...] = (row, *(slice(0, n) for n in part.shape))
        stacked[place] = part
    return stacked


def _spectra(records: Sequence[Record]) -> dict[str, Variable]:
    def of(name: str, *axes: str) -> Variable:
        return _stacked(_values(records, "spectrum", name), *axes)

    energies = max((r["spectrum"]["energies"] for r in records), key=len)
    tails: dict[str, Variable] = {}
    for side in ("negative", "positive"):
        for name, part, axis in (("beyond", "tails", "threshold"), ("largest", "largest", "rank")):
            rows = [r["spectrum"][part][side] for r in records]
            tails |= {
                f"{name}_{side}{ending}": _stacked([[s[key] for s in row] for row in rows], axis)
                for ending, key in ESTIMATES.items()
            }
    return tails | {
        "threshold": Variable(("threshold",), np.array(records[0]["spectrum"]["tails"]["thresholds"])),
        "nodes": of("nodes", "probe", "node"),
        "weights": of("weights", "probe", "node"),
        "alpha": of("alpha", "probe", "step"),
        "beta": of("beta", "probe", "step"),
        "energy": Variable(("energy",), np.array(energies, dtype=np.float64)),
        "density": of("density", "energy"),
        "density_standard_error": of("standard_error", "energy"),
    }


def _predictions(records: Sequence[Record]) -> dict[str, Variable]:
    rungs = sorted({rung for r in records for rung in r["predictions"]})
    found = {"rung": Variable(("rung",), np.array(rungs, dtype=np.str_))}
    if not rungs:
        return found

    def of(name: str, none: Any, *axes: str, part: str | None = None) -> Variable:
        made = [[r["predictions"].get(rung, {}) for rung in rungs] for r in records]
        rows = [[(p if part is None else p.get(part, {})).get(name, none) for p in row] for row in made]
        values = np.stack([_filled(column, len(axes)) for column in zip(*rows, strict=True)], axis=1)
        return Variable(("epoch", "rung", *axes), values)

    width = max(len(r["spectrum"]["energies"]) for r in records)
    for name in DISTANCES:
        found |= {name: of(name, None), f"predicted_{name}_standard_error": of(f"{name}_standard_error", None)}
    found |= {"predicted_density": of("density", [None] * width, "energy")}
    tails = [[r["predictions"].get(rung, {}).get("tails", {}) for rung in rungs] for r in records]
    return found | _expected_tails(tails) if any(any(row) for row in tails) else found


def _forecast(records: Sequence[Record]) -> dict[str, Variable]:
    """What was predicted before training, (epoch, forecast_rung, network)."""
    rungs = sorted({rung for r in records for rung in r.get("forecast") or {}})
    if not rungs:
        return {}
    told = [[(r.get("forecast") or {}).get(rung, {}) for rung in rungs] for r in records]
    found = {"forecast_rung": Variable(("forecast_rung",), np.array(rungs, dtype=np.str_))}
    for name in FORECAST:
        rows = [_filled([cell.get(name, []) for cell in row], 1) for row in told]
        found[f"forecast_{name}"] = _stacked(rows, "forecast_rung", "network")
    return found


def _expected_tails(tails: Sequence[Sequence[Record]]) -> dict[str, Variable]:
    """(epoch, rung, threshold) numbers beyond, (epoch, rung, rank) the largest, and their standard errors, by side."""
    found = {}
    for side, (ending, key) in product(("negative", "positive"), ESTIMATES.items()):
        parts = {
            "beyond": ("threshold", [[t.get(side, []) for t in row] for row in tails]),
            "largest": ("rank", [[t.get("largest", {}).get(side, []) for t in row] for row in tails]),
        }
        for name, (axis, rows) in parts.items():
            filled = _filled([_filled([[e[key] for e in cell] for cell in row], 1) for row in rows], 2)
            found[f"expected_{name}_{side}{ending}"] = Variable(("epoch", "rung", axis), filled)
    return found


def _summary(data: Mapping[str, Any]) -> dict[str, Variable]:
    history, claims = data["training"]["history"], data["claims"]
    found = {
        f"history_{name}": Variable(("update",), np.array(values, dtype=np.float64)) for name, values in history.items()
    }
    found["claim"] = Variable(("claim",), np.array([c["id"] for c in claims], dtype=np.str_))
    return found | {"verdict": Variable(("claim",), np.array([c["verdict"] for c in claims], dtype=np.str_))}

"""Named random streams: one seed, one independent stream for every purpose.

A stream is named, not numbered, so that two functions given the same integer never draw the same numbers, and so that a
new purpose does not shift the others. The name enters numpy's `SeedSequence` as a spawn key,

    SeedSequence(seed, spawn_key=(first 128 bits of SHA-256(purpose), len(index), *index)),

where `index` numbers what one purpose draws independently: probes, layers, epochs. Its length stands before it because
a generator numbers what is spawned from it in the same way. Nothing is seeded by a list such as ``[seed, epoch]``:
numpy pads entropy with zeros, so that ``[seed, 0]`` is the stream of ``seed``, and ``[0, 1]`` that of 2³².
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

Seed = int | np.random.Generator

PURPOSES = {
    # of a network and its training
    "weights": "`Network.init`, by layer",
    "batches": "the order of the examples, by epoch of training",
    "training gates": "gates of a Monte Carlo E-step in training, by epoch",
    "em gates": "gates of a Monte Carlo E-step in `expectation_maximization`",
    "output gates": "gates of `output` at a temperature",
    "marginal gates": "gates of `monte_carlo_marginal`",
    "thermal gates": "gates and choices of pools of `sample_thermodynamics`",
    "stochastic gates": "those of a `StochasticNetwork`, by set; and the root of all its sets",
    # of circuits and entries
    "paths": "`sample_paths`",
    "circuit paths": "paths of `sample_circuits`",
    "circuit examples": "examples of `sample_circuits`",
    "live paths": "`sample_live_paths`",
    "entry pairs": "pairs of parameters of Hessian entries",
    "entry statistics": "entries, resamples and permutations of `entry_statistics`, the same at every epoch",
    "entry examples": "the training examples of the entries of a run, where they are fewer than all",
    "entry labels": "permuted labels of `entry_statistics` and the errors of ∂²T, the same at every epoch",
    "permutations": "the null law of coupled entries, by round",
    # of spectra and predictions
    "lanczos": "probes of stochastic Lanczos quadrature, by probe; in a run by epoch",
    "verification": "the vector on which products are verified, always the same",
    "hutchinson": "probes of row second moments, by layer; in a run by epoch",
    "prediction examples": "the active examples that a prediction is computed on",
    "stochastic probes": "probes of the scale of a stochastic network's Hessian",
    "fresh networks": "networks, or on-sets of wide layers, that a prediction draws",
    "predictions": "the signal rungs of a record, by epoch",
    "sampled rungs": "the sampled rungs of a record, all the same numbers, by epoch",
    "ensemble weights": "fresh weights of a sampled rung, by draw and layer",
    "ensemble fields": "mixing numbers of a layer's fields, by draw and layer",
    "ensemble probes": "Lanczos probes of a sampled rung, by draw",
    "hierarchy": "Gaussian starts of `fit_hierarchy`, by start",
    # of a run of the main job
    "examples": "the training examples",
    "spectrum examples": "those of them on which spectrum and prediction are computed",
    "forecast examples": "the test examples of which R7 predicts the accuracy, where they are many",
    "forecast probes": "Lanczos probes of R7, by epoch",
    "statistics": "symmetry tests of a record, by epoch",
    "facts": "probes of the exact facts, by epoch",
    "record gates": "gates that a record draws at a temperature, by epoch",
    "scale": "probes of the scale of the mean Hessian of a record, by epoch",
    "circuits": "circuits of a record, by epoch",
    "eigenvectors": "start of the search for eigenvectors of a record, by epoch",
    "mirror": "mirrored probes of the symmetry statistic, by epoch",
    "whole": "probes of stochastic Lanczos quadrature of H + G, by epoch",
    "whole mirror": "mirrored probes of H + G, by epoch",
    "whole eigenvectors": "start of the search for the largest eigenvalues of H + G, and signs behind tr HG, by epoch",
    "theorems": "exact ensembles behind the claims on theorems and bounds",
    # of the other commands, by part
    "exact": "`validation.exact`",
    "bounds": "`validation.bounds`",
    "ladder": "`validation.ladder`",
    "maxent": "`validation.maxent`, by part",
    "phase data": "examples of a cell of the phase diagram, by width and number of examples",
    "phase weights": "weights of a cell",
    "phase batches": "batches of a cell",
    "phase records": "everything measured in a cell",
    "phase forecast": "the fresh network by which R7 predicts a cell",
    "gates draws": "gates that `validation.gates` draws, by network, epoch and temperature",
    "scales data": "examples of a network whose scales are compared",
    "scales weights": "its weights",
    "scales batches": "its batches",
    "scales records": "everything measured of it, by epoch",
    "temperature data": "examples of a cell of `validation.temperature`, by seed alone as all of these",
    "temperature weights": "its weights",
    "temperature batches": "its batches",
    "temperature records": "everything measured in it, by network",
    "phase labels": "random labels of a cell",
    "capacity data": "the order of the examples of a search for the capacity",
    "capacity labels": "their random labels",
    "capacity weights": "fresh weights, by depth, width, number of examples and start",
    "capacity batches": "batches, in the same way",
    "capacity forecast": "the fresh network of a prediction, by depth and width",
    "capacity rung": "the weights of its rung, in the same way and by number of active examples",
    "novel data": "first and novel examples of `validation.novel`, for all widths",
    "novel weights": "weights of a cell, by width",
    "novel base": "batches of a training before the first novel examples, by width and twin",
    "novel batches": "batches of a round, by width, kind and round",
    "novel records": "Lanczos probes of a round, by width, kind, round and stage",
    "stationary data": "examples of a cell of `validation.stationary`, by loss",
    "stationary weights": "its weights",
    "stationary batches": "its batches",
    "stationary starts": "noise of the starts of its searches",
    "stationary ends": "probes, and gradients near a kink, of what its searches found",
    "nearby gradients": "points near a kink",
    "input directions": "`input_stretch`",
    "chaos data": "examples of a cell of `validation.chaos`",
    "chaos weights": "its weights, the same for every gain",
    "chaos batches": "its batches, the same for every gain",
    "chaos records": "everything measured in it, by number of the gain",
    # of anything else that splits a stream
    "parts": "independent parts of one task",
}
"""What random numbers are drawn for."""


@cache
def _key(purpose: str) -> tuple[int, ...]:
    digest = hashlib.sha256(purpose.encode()).digest()
    return tuple(int.from_bytes(digest[k : k + 4], "little") for k in range(0, 16, 4))


class Streams:
    """The streams of a seed: an integer >= 0, or a generator, which then gives other streams each time it is passed.

    >>> from simulator.streams import Streams
    >>> streams = Streams(0)
    >>> bool(streams("weights").random() == streams("batches", 1).random())
    False

    Raises `ValueError` for another seed and for a purpose that `PURPOSES` does not list.
    """

    def __init__(self, seed: Seed) -> None:
        if isinstance(seed, np.random.Generator):
            own = seed.bit_generator.seed_seq.spawn(1)[0]  # type: ignore[attr-defined]
            self._entropy, self._spawned = own.entropy, tuple(own.spawn_key)
        elif isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed {seed!r} is not usable: pass an integer >= 0 or a numpy.random.Generator")
        else:
            self._entropy, self._spawned = int(seed), ()

    def __call__(self, purpose: str, *index: int) -> np.random.Generator:
        """The stream of a purpose; the same one at every call with the same arguments."""
        if purpose not in PURPOSES:
            raise ValueError(f"purpose {purpose!r} of a random stream is unknown: list it in PURPOSES")
        key = (*self._spawned, *_key(purpose), len(index), *index)
        return np.random.default_rng(np.random.SeedSequence(self._entropy, spawn_key=key))

    def spawn(self, purpose: str, count: int, *index: int) -> list[np.random.Generator]:
        """`count` independent streams of a purpose."""
        return [self(purpose, *index, k) for k in range(count)]


def spawn_streams(seed: Seed, count: int) -> list[np.random.Generator]:
    """`count` independent generators for the parts of one task."""
    return Streams(seed).spawn("parts", count)


class Numbers(Protocol):
    """Where uniform random numbers come from: a generator, or one for each example (`RowStreams`)."""

    def random(self, size: Any, dtype: Any = ...) -> Any:
        """Numbers in [0, 1) of a shape, whose first axis is that of the examples."""


class RowStreams:
    """Random numbers of rows, each with a stream of its own, which is asked for in the order of a pass.

    A counter-based generator [Salmon2011] stands at (call, *place of the row): what a row draws does not depend on
    which other rows are in its batch. `places` (rows, 2) are whole numbers >= 0.

    >>> import numpy as np
    >>> from simulator.streams import RowStreams
    >>> both = RowStreams(np.random.Philox(1), [(0, 0), (0, 1)]).random((2, 3))
    >>> bool(np.array_equal(both[1:], RowStreams(np.random.Philox(1), [(0, 1)]).random((1, 3))))
    True
    """

    def __init__(self, bits: np.random.Philox, places: Sequence[tuple[int, int]]) -> None:
        self._bits, self._generator, self._places = bits, np.random.Generator(bits), places
        self._calls = 0

    def random(self, size: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray[Any, Any]:
        """Numbers in [0, 1), (rows, ...)."""
        found, state = np.empty(size, dtype=dtype), self._bits.state
        state |= {"buffer_pos": 4, "has_uint32": 0}  # nothing is left over from another row
        for row, place in zip(found, self._places, strict=True):
            state["state"]["counter"][:] = (0, self._calls, *place)
            self._bits.state = state
            row[...] = self._generator.random(row.shape, dtype=dtype)
        self._calls += 1
        return found


def uniform(rng: Numbers, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Numbers in [0, 1) drawn in the precision they are used in: rounding to 1 would switch off a sure gate."""
    drawn: np.ndarray[Any, Any] = rng.random(shape, dtype=np.float32) if dtype == "float32" else rng.random(shape)
    return drawn

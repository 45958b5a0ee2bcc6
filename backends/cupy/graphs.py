"""A step that is called often, recorded once as a CUDA graph and launched as one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from backends.interface import Array, Step

Launch = Callable[[], None]


class ReplayedStep:
    """A pure step (state, inputs) -> state on fixed places of memory.

    The first call runs as it is, which compiles what is not compiled yet; the second is recorded and compared with the
    step itself, bit for bit; later ones copy what changed to its place and launch the record. Arrays of other shapes (a
    last, partial batch) run as they are. The state returned is written over by the next call.

    run      calls the step with the operations that can be recorded
    record   records what a function does and returns what does it again
    same     whether two arrays agree to the last bit
    copy     an array of the same numbers, in memory of its own
    """

    def __init__(
        self,
        step: Step,
        run: Callable[[Callable[[], list[Array]]], list[Array]],
        record: Callable[[Launch], Launch],
        same: Callable[[Array, Array], bool],
        copy: Callable[[Array], Array],
    ) -> None:
        self._step, self._run, self._record, self._same, self._copy = step, run, record, same, copy
        self._shapes: list[tuple[int, ...]] | None = None
        self._places: tuple[list[Array], list[Array]] | None = None
        self._launch: Launch | None = None
        self._refused = False

    def __call__(self, state: list[Array], inputs: list[Array]) -> list[Array]:
        shapes = [tuple(a.shape) for a in (*state, *inputs)]
        if self._refused or self._shapes not in (None, shapes):
            return self._run(lambda: self._step(state, inputs))
        if self._shapes is None:
            self._shapes = shapes
            return self._run(lambda: self._step(state, inputs))
        if self._launch is None:
            return self._first(state, inputs)
        assert self._places is not None
        self._put(self._places[0], state)
        self._put(self._places[1], inputs)
        self._launch()
        return self._places[0]

    def _first(self, state: list[Array], inputs: list[Array]) -> list[Array]:
        expected = self._run(lambda: self._step(state, inputs))
        own, given = ([self._copy(a) for a in arrays] for arrays in (state, inputs))
        try:
            launch = self._record(lambda: self._put(own, self._run(lambda: self._step(own, given))))
        except Exception as error:  # what CUDA refuses to record has many classes
            said = str(error).strip() or type(error).__name__
            return self._refuse(f"it cannot be recorded ({said.splitlines()[0]})", expected)
        launch()
        if not all(self._same(a, b) for a, b in zip(own, expected, strict=True)):
            return self._refuse("its record gave other numbers", expected)
        self._places, self._launch = (own, given), launch
        return own

    def _refuse(self, reason: str, expected: list[Array]) -> list[Array]:
        warnings.warn(
            f"a step runs without a CUDA graph, correct but slower: {reason}; please report it",
            UserWarning,
            stacklevel=4,
        )
        self._refused = True
        return expected

    @staticmethod
    def _put(places: list[Array], values: list[Array]) -> None:
        for place, value in zip(places, values, strict=True):
            if place is not value:
                place[...] = value

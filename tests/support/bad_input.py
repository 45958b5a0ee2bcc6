"""What every test of bad input shares: damaged bytes, the one verdict on a call, and a tally of cases by kind."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMED = (ValueError, TypeError)
SLOW = 5.0  # seconds of processor time that no single call may take, however busy the machine
TALLY: dict[str, Counter[str]] = {}


def verdict(kind: str, call: Callable[[], Any], right: Callable[[Any], bool], named: Any = NAMED) -> str:
    """Whether a call was "refused" (a named error of one sentence) or "right"; anything else is an escape and fails."""
    begun = time.process_time()
    try:
        answer = call()
    except named as error:
        check_sentence(str(error))
        outcome = "refused"
    else:
        assert right(answer), f"a wrong answer: {answer!r}"[:1000]
        outcome = "right"
    assert time.process_time() - begun < SLOW, "it hangs"
    TALLY.setdefault(kind, Counter())[outcome] += 1
    return outcome


def judged(kind: str, status: int, accepted: tuple[int, ...] = (0,)) -> None:
    """The same for an exit status: 2 and 3 are refusals, `accepted` right; any other is an escape."""
    assert status in (2, 3, *accepted), f"exit status {status}"
    TALLY.setdefault(kind, Counter())["right" if status in accepted else "refused"] += 1


def check_sentence(said: str) -> None:
    """An error says something, in one line that fits a terminal."""
    assert said.strip(), "an error that says nothing"
    assert "\n" not in said, f"more than one line: {said!r}"
    assert len(said) < 2000, f"{len(said)} characters: {said[:200]!r}"


def explore(check: Callable[..., None], examples: int, *strategies: Any) -> None:
    """Run `check` on `examples` drawn cases."""
    quiet = settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    quiet(given(*strategies)(check))()


def table() -> str:
    """Cases by kind, for the tests that print them."""
    rows = [f"{kind:<34} {sum(c.values()):>8} {c['refused']:>8} {c['right']:>8}" for kind, c in sorted(TALLY.items())]
    total = sum(sum(c.values()) for c in TALLY.values())
    return "\n".join(
        [f"{'kind':<34} {'cases':>8} {'refused':>8} {'right':>8}", *rows, f"{'all':<34} {total:>8}, 0 escaped"]
    )


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, int]]:
    """A few damages: what, where (a fraction of the length), and how much."""
    kinds = st.sampled_from(["cut", "flip", "flip", "flip", "drop", "zero", "insert", "repeat"])
    one = st.tuples(kinds, st.floats(0, 1, exclude_max=True), st.integers(0, 4000))
    return draw(st.lists(one, min_size=1, max_size=4))


def damaged(data: bytes, damage: list[tuple[str, float, int]]) -> bytes:
    """The bytes after the damage."""
    for what, where, size in damage:
        place, some = int(where * len(data)), 1 + size % 16
        before, after = data[:place], data[place:]
        if what == "cut":
            data = before
        elif what == "flip" and after:
            data = before + bytes([after[0] ^ (1 << size % 8)]) + after[1:]
        elif what == "drop":
            data = before + after[some:]
        elif what == "zero":
            data = before + bytes(min(some, len(after))) + after[some:]
        elif what == "insert":
            data = before + size.to_bytes(2, "little") * (some // 2) + after
        else:
            data = before + after[:some] + after
    return data


def check_refused(main: Callable[[list[str]], int], words: Sequence[str], message: str) -> None:
    """Exit status 2, and one line on stderr that has the message in it."""
    errors = io.StringIO()
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        try:
            status = main([*words])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    assert status == 2
    assert len(errors.getvalue().strip().splitlines()) == 1
    assert errors.getvalue().count("\n") == 1
    assert message in errors.getvalue()

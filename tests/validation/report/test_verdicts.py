"""The section of the verdicts: counts, failures, folds; and the same as part of a sentence."""

from __future__ import annotations

import pytest

from support.page import Page
from validation.report.text import answered, facts_in_words, verdicts_in_words
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import Claim
from validation.statistics.decide import UNRESOLVED, Held


def claims(*held: Held, exact: bool = False) -> list[dict[str, object]]:
    return [
        Claim(f"{'E' if exact else 'c'}{k}", "fig. 1", f"claim {k}", "m", "e", verdict, exact).record()
        for k, verdict in enumerate(held)
    ]


def test_counts_then_what_is_not_supported_then_folds() -> None:
    found = [*claims(True, exact=True), *claims(True, False, UNRESOLVED, None)]
    html = judged(found, "More words.").__html__()
    page = Page(html)
    assert "Exact factsClaims under test" in page.text
    before, _, after = html.partition("<details>")
    assert "claim 1" in before
    assert "claim 2" not in before
    assert "More words." in before
    assert "Not resolved: 1" in after
    assert "All 5 claims" in after
    assert after.count("<details>") == 1  # and the one that it was split at


def test_without_exact_facts_there_is_no_column_of_them() -> None:
    html = judged(claims(True, True)).__html__()
    assert "Claims under test" in html
    assert "Exact facts</th>" not in html
    assert "Not resolved:" not in html.partition("<details>")[2]
    assert "No claim has been judged yet." in judged([]).__html__()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ((True, True), "all 2 exact facts hold"),
        ((True, False), "1 of 2 exact facts fail: E1"),
        ((False, False), "2 of 2 exact facts fail: E0, E1"),
    ],
)
def test_exact_facts_in_words(held: tuple[bool, ...], words: str) -> None:
    assert facts_in_words(claims(*held, exact=True)) == words


def test_verdicts_in_words() -> None:
    assert verdicts_in_words(claims(True, False, True, UNRESOLVED)) == "2 supported, 1 not supported, 1 not resolved"


def test_an_answer_ends_with_its_stop_and_fits_the_terminal() -> None:
    lines = answered("word " * 40 + "end", width=60).splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    assert lines[-1].endswith("end.")
    assert [str(block) for block in beginning("It holds", [])] == ['<p class="answer">It holds.</p>']
    assert "This is a bug: E1, E2." in beginning("It fails", ["E1", "E2"])[0]

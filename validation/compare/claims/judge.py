"""From recorded epochs to verdicts: the paper's claims, each with a number, and the exact facts."""

from __future__ import annotations

from collections.abc import Sequence

from validation.statistics.claim import Record
from validation.statistics.symmetry import false_discoveries

from .entries import judge_entries
from .facts import judge_facts
from .gradient import judge_gradient
from .hypotheses import judge_hypotheses
from .mirror import judge_mirror
from .predictions import judge_predictions
from .spectrum import judge_spectrum
from .structure import judge_structure
from .training import judge_training
from .weights import judge_weights
from .whole import judge_whole


def judge(records: Sequence[Record], momentum: float, n_weights: int) -> list[Record]:
    """Every claim that the recorded epochs can speak of, in the order of the paper, then the exact facts."""
    found = false_discoveries(records)["kinds"]
    claims = [
        *judge_weights(records, found),
        *judge_gradient(records, found, momentum),
        *judge_entries(records),
        *judge_hypotheses(records),
        *judge_mirror(records),
        *judge_spectrum(records),
        *judge_predictions(records),
        *judge_structure(records, n_weights),
        *judge_whole(records),
        *judge_training(records),
        *judge_facts(records),
    ]
    return [claim.record() for claim in claims]

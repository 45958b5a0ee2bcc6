"""A logistic edge: planted ones are found within their errors, separated trials have a finite one."""

from __future__ import annotations

import numpy as np
import pytest

from validation.statistics.edge import Trial, fit_edge


def planted(edge: float, width: float, seeds: int, rng: np.random.Generator, resolution: float = 1.05) -> list[Trial]:
    """Searches by bisection, each with a threshold of its own from the logistic law."""
    trials = []
    for seed in range(seeds):
        threshold = np.log(edge) + width * rng.logistic()
        low, high, m = None, None, 0.7 * edge
        while low is None or high is None or high / low > resolution:
            success = bool(np.log(m) < threshold)
            trials.append(Trial(m, success, seed))
            low, high = (m, high) if success else (low, m)
            m = 2.0 * m if high is None else m / 2.0 if low is None else float(np.sqrt(low * high))
    return trials


def test_a_planted_edge_is_found_within_its_error() -> None:
    rng, misses = np.random.default_rng(0), []
    for _ in range(12):
        found = fit_edge(planted(300.0, 0.12, 6, rng))
        assert found is not None
        assert found.log_error is not None
        misses.append(np.log(found.edge / 300.0) / found.log_error)
    assert np.mean(np.abs(misses) < 2.0) >= 0.84
    assert abs(np.mean(misses)) < 0.8


def test_many_searches_leave_a_small_error_and_find_the_width() -> None:
    found = fit_edge(planted(1000.0, 0.2, 60, np.random.default_rng(1)))
    assert found is not None
    assert found.log_error is not None
    assert found.width_error is not None
    assert found.log_error < 0.08
    assert abs(np.log(found.edge / 1000.0)) < 3.0 * found.log_error
    assert 0.1 < found.width < 0.45
    assert found.standard_error == found.edge * found.log_error
    assert found.share([found.edge])[0] == pytest.approx(0.5)
    below, above = found.share([1.0, 1e6])
    assert below > 0.999
    assert above < 0.001


def test_separated_trials_have_their_edge_between_them() -> None:
    trials = [Trial(m, m <= 100, seed) for seed in (0, 1) for m in (50, 80, 100, 120, 200)]
    found = fit_edge(trials)
    assert found is not None
    assert 100 < found.edge < 120
    assert 0 < found.width < 0.3
    alone = fit_edge([t for t in trials if t.group == 0])
    assert alone is not None
    assert alone.log_error is None
    assert alone.standard_error is None


def test_without_both_outcomes_there_is_no_edge() -> None:
    assert fit_edge([Trial(m, True, 0) for m in (1, 2, 4)]) is None
    assert fit_edge([Trial(m, False, 0) for m in (1, 2, 4)]) is None
    assert fit_edge([Trial(1, True, 0), Trial(2, False, 0)]) is None

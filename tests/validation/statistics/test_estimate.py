"""Means and their standard errors, in the one place that every measurement takes them from."""

from __future__ import annotations

import numpy as np
import pytest

from validation.statistics.estimate import estimate, mean_and_error, mean_of, standard_error


def test_the_error_is_the_spread_of_means() -> None:
    """Of many samples of nine numbers; the same number in every form."""
    samples = np.random.default_rng(0).standard_normal((4000, 9))
    errors = [standard_error(sample) for sample in samples]
    assert np.mean(np.square(np.array(errors, dtype=float))) == pytest.approx(np.var(samples.mean(axis=1)), rel=0.1)
    first = samples[0].tolist()
    assert mean_of(samples[0]) == {"value": float(np.mean(first)), "standard_error": errors[0]}
    assert estimate(first) == mean_of(first) | {"networks": 9}
    assert (mean_and_error(first).value, mean_and_error(first).standard_error) == (np.mean(first), errors[0])


def test_a_single_number_has_no_error() -> None:
    assert mean_of([2.0]) == {"value": 2.0, "standard_error": None}
    assert estimate([]) is None
    with pytest.raises(ValueError, match="expected at least two values, got 1"):
        mean_and_error([2.0])

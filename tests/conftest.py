"""What every test of the simulator shares: both CPU backends, and Hypothesis without a clock."""

from __future__ import annotations

import os

import pytest
from cases import BACKENDS
from hypothesis import settings

# Idle threads of the compiled kernels must sleep, not spin: tests share their cores. Read when OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The first call of a compiled kernel may take seconds, and no example is worth shrinking for its time.
settings.register_profile("umwelt", deadline=None, max_examples=40)
settings.load_profile("umwelt")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend."""
    return str(request.param)

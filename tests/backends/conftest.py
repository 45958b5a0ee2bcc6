"""Fixtures: CuPy backends of several precisions, see `support.devices`."""

from __future__ import annotations

import pytest

from support.devices import CUDA, EMULATED, device
from support.emulated_cuda import COMPILER, NO_COMPILER, EmulatedBackend

everywhere = pytest.fixture(params=[*EMULATED, *CUDA], name="everywhere")(device)
on_cuda = pytest.fixture(params=CUDA, name="on_cuda")(device)
emulated = pytest.fixture(params=EMULATED, name="emulated")(device)
precise = pytest.fixture(params=[*EMULATED[:2], *CUDA[:2]], name="precise")(device)  # where TF32 has no part


@pytest.fixture
def host() -> EmulatedBackend:
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    return EmulatedBackend()

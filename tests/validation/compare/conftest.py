"""The finished run that several files of this folder read, see `support.small_run`."""

from __future__ import annotations

import pytest

from support.small_run import finished_run

finished = pytest.fixture(scope="session", name="finished")(finished_run)

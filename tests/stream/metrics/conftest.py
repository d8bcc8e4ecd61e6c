"""Metrics on a clock that stands until it is moved."""

from __future__ import annotations

import pytest

from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    return Metrics(clock=clock, wall_clock=clock)

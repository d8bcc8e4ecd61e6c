"""What `bench.takeover` reads is what a worker exports."""

from __future__ import annotations

import time

from prometheus_client import generate_latest

from bench.takeover import AGES, STAGE
from store.settings import Freshness
from stream.metrics.metrics import Metrics


def test_ages_are_found_by_partition() -> None:
    metrics = Metrics(freshness=Freshness())
    metrics.canaries.watch(STAGE, [0, 1])
    metrics.canaries.came(STAGE, 1, round(1000 * time.time()) - 4000)
    (found,) = AGES.findall(generate_latest(metrics.registry).decode())
    assert found[0] == "1"
    assert 4.0 <= float(found[1]) < 60.0

"""What the tests of the trainer's work with the log share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from store.settings import Settings


@pytest.fixture
def producer(settings: Settings) -> Iterator[KafkaProducer]:
    """On the cluster of the test's own `settings`."""
    made = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    yield made
    made.close()

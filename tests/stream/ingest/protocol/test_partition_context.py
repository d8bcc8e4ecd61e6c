"""A worker's partitions share one reader of events, and one wait for schemas where there is a registry."""

from __future__ import annotations

import msgspec

from store.settings import Kafka, Registry, Settings
from stream.ingest.protocol.partition_context import PartitionContext
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics


def test_schemas_are_waited_for_where_there_is_a_registry() -> None:
    settings = Settings()
    context = PartitionContext(settings=settings, emitter=Emitter(settings), metrics=Metrics())
    assert (context.reader.registry, context.schemas) == (None, None)
    named = msgspec.structs.replace(settings, kafka=Kafka(registry=Registry(url="http://127.0.0.1:1")))
    context = PartitionContext(settings=named, emitter=Emitter(named), metrics=Metrics())
    assert context.reader.registry is not None
    assert context.schemas is not None

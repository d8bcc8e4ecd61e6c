"""What tests read back from a real broker."""

from __future__ import annotations

from typing import Any

import msgspec
from kafka import TopicPartition

from store.settings import Settings, settings_from
from stream.kafka.connections import reader


def settings_on(bootstrap_servers: str, prefix: str, **tables: Any) -> Settings:
    """Settings with topics of a test's own."""
    kafka = {"bootstrap_servers": bootstrap_servers, "topic_prefix": prefix, **tables.pop("kafka", {})}
    return settings_from({"kafka": kafka, **tables})


def read_topic(settings: Settings, name: str) -> list[Any]:
    """Every record (kafka-python's) of a topic as it is now, partition by partition."""
    with reader(settings, []) as consumer:
        full = settings.topic(name)
        places = [TopicPartition(full, number) for number in sorted(consumer.partitions_for_topic(full) or ())]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        records = []
        while any(consumer.position(place) < ends[place] for place in places):
            for batch in consumer.poll(timeout_ms=1000).values():
                records.extend(batch)
        return sorted(records, key=lambda record: (record.partition, record.offset))


def events_of(records: list[Any]) -> list[dict[str, Any]]:
    """The events of records, frames opened."""
    opened = [msgspec.json.decode(record.value) for record in records if record.value is not None]
    return [event for each in opened for event in each.get("events", [each])]

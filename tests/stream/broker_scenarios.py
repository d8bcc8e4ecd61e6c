"""What the conformance scenarios have in common."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.stream.kafka_wire import Wire

Scenario = Callable[[str], Any]  # bootstrap servers → what the broker said


def scenarios_of(module: ModuleType) -> list[Scenario]:
    """The module's public functions of its own that take `bootstrap`."""
    found = inspect.getmembers(module, inspect.isfunction)
    return [
        function
        for name, function in found
        if function.__module__ == module.__name__ and not name.startswith("_") and "bootstrap" in _parameters(function)
    ]


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def unique(what: str) -> str:
    """A name that no other scenario uses: all share the brokers."""
    return f"{what}-{uuid.uuid4().hex[:8]}"


def create_topic(wire: Wire, partitions: int = 1, **configs: str) -> str:
    """A fresh topic; `cleanup_policy="compact"` sets `cleanup.policy`. Keeps old timestamps unless told otherwise."""
    configs = {"retention_ms": "-1"} | configs
    name = unique("topic")
    asked = {"name": name, "num_partitions": partitions, "replication_factor": 1}
    asked["configs"] = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
    answer = wire.ask("CreateTopics", 4, topics=[asked], timeout_ms=10_000)
    assert answer.topics[0].error_code == 0, answer
    _wait_until_served(wire, name)
    return name


def _wait_until_served(wire: Wire, topic: str) -> None:
    """Real Kafka says that a topic is made before all of it knows."""
    while True:
        asked = [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]
        if wire.ask("ListOffsets", 4, replica_id=-1, topics=asked).topics[0].partitions[0].error_code == 0:
            return

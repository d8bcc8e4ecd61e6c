"""What the conformance scenarios have in common."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from tests.stream.broker.kafka_wire import Wire

T = TypeVar("T")
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
    asked: dict[str, Any] = {"name": name, "num_partitions": partitions, "replication_factor": 1}
    asked["configs"] = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
    answer = wire.ask("CreateTopics", 4, topics=[asked], timeout_ms=10_000)
    assert answer.topics[0].error_code == 0, answer
    asked_for = [{"name": name, "partitions": [{"partition_index": n, "timestamp": -1} for n in range(partitions)]}]

    def refusals() -> list[int]:
        answer = wire.ask("ListOffsets", 4, replica_id=-1, topics=asked_for)
        return [part.error_code for part in answer.topics[0].partitions if part.error_code]

    eventually(refusals, lambda found: not found)
    return name


def eventually(ask: Callable[[], T], settled: Callable[[T], bool], seconds: float = 10.0) -> T:
    """Asks until the answer is settled, or time is up: real Kafka says that a change is made before all of it knows."""
    end = time.monotonic() + seconds
    while not settled(answer := ask()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer

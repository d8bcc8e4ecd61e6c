"""What every partition of a worker shares: settings, the way out, the metrics, and the group's generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from store.settings import Settings
from stream.ingest.protocol.partition import Fault, no_fault
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionContext:
    """`generation` is the group's as of now; `fault` is called at each boundary of the protocol."""

    settings: Settings
    emitter: Emitter
    metrics: Metrics
    generation: Callable[[], int] = lambda: 0
    fault: Fault = no_fault

"""What every partition of a worker shares: settings, the way out, the metrics, and the group's generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from store.files.crash_points import Fault, no_fault
from store.records.foreign import ForeignRecords
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionContext:
    """`generation` is the group's as of now; `fault` is called at each boundary of the protocol; `foreign` is told of
    records that are passed over."""

    settings: Settings
    emitter: Emitter
    metrics: Metrics
    generation: Callable[[], int] = lambda: 0
    fault: Fault = no_fault
    foreign: ForeignRecords = field(default_factory=ForeignRecords)

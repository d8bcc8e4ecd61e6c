"""What every partition of a worker shares: settings, the way out, the metrics, and the group's generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from store.envelopes.reading import EventReader, event_reader
from store.files.crash_points import Fault, no_fault
from store.records.foreign import ForeignRecords
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionContext:
    """`generation` is the group's as of now; `fault` is called at each boundary of the protocol; `foreign` is told of
    records that are passed over; `reader` decodes events as the settings say."""

    settings: Settings
    emitter: Emitter
    metrics: Metrics
    generation: Callable[[], int] = lambda: 0
    fault: Fault = no_fault
    foreign: ForeignRecords = field(default_factory=ForeignRecords)
    reader: EventReader = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", event_reader(self.settings))  # frozen otherwise

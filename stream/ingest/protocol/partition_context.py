"""What every partition of a worker shares: settings, the way out, the metrics, and the group's generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from store.envelopes.reading import EventReader, event_reader
from store.files.crash_points import Fault, no_fault
from store.records.foreign import ForeignRecords
from store.settings import Settings
from stream.ingest.protocol.schema_wait import SchemaWait
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.tracing.stages import Stages


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionContext:
    """`generation` is the group's as of now; `fault` is called at each boundary of the protocol; `foreign` is told of
    records that are passed over, `stages` of what becomes of traced ones; `reader` decodes events as the settings say,
    and `schemas` waits for what it needs."""

    settings: Settings
    emitter: Emitter
    metrics: Metrics
    generation: Callable[[], int] = lambda: 0
    fault: Fault = no_fault
    foreign: ForeignRecords = field(default_factory=ForeignRecords)
    stages: Stages = field(default_factory=Stages)
    reader: EventReader = field(init=False)
    schemas: SchemaWait | None = field(init=False)

    def __post_init__(self) -> None:
        reader = event_reader(self.settings)
        wait = None if reader.registry is None else SchemaWait(reader.registry, self.settings.kafka.registry.wait_s)
        object.__setattr__(self, "reader", reader)  # frozen otherwise
        object.__setattr__(self, "schemas", wait)

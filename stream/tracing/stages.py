"""Stages: what a worker tells of the traced events that it has to do with, by the times that it measures anyway.

A record that names a trace (header `traceparent`, whoever wrote it) is one stage, from when it came to the broker to
when it was taken; what it leads to goes on from there, and the records that carry it name the stage before them. So
each worker that meets the event tells its part of one trace.

Invariant: of one record no more than `MOST_ITEMS` items and `MOST_TRACES` traces are gone on with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from store.headers import TRACEPARENT
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, PROFILES, UPLOADS

if TYPE_CHECKING:
    from opentelemetry.trace import SpanKind

    from stream.tracing.export import Export
    from stream.tracing.spans import Stage

TAKEN: Mapping[str, str] = {
    UPLOADS: "receive uploads",
    ENGAGEMENTS: "absorb engagements",
    PROFILES: "absorb profiles",
    ITEM_SIGNALS: "absorb item-signals",
}
"""What the stage of a record is called that was taken from a topic."""

MOST_ITEMS, MOST_TRACES = 16, 8

NO_STAGES: Mapping[Any, Any] = MappingProxyType({})


class Traced(Protocol):
    """A record of an input topic."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def first_ms(self) -> int: ...
    @property
    def traceparent(self) -> bytes: ...


class Item(Protocol):
    """An event about an item."""

    @property
    def item_id(self) -> str: ...


class Stages:
    """Without `export` nothing is traced. `malformed` is told of each header that names no trace."""

    def __init__(self, export: Export | None = None, malformed: Callable[[], None] = lambda: None) -> None:
        self._export = export
        self._malformed = malformed

    def taken(self, topic: str, records: Iterable[Traced]) -> Mapping[int, Stage]:
        """Offset → the stage of a record that was taken from `topic`, and lasts until it is ended."""
        if self._export is None:
            return NO_STAGES
        found: dict[int, Stage] = {}
        for record in records:
            if record.traceparent:
                stage = self._of_record(TAKEN[topic], record, record.first_ms, record.traceparent)
                if stage is not None:
                    found[record.offset] = stage
        return found

    def assigning(self, uploads: Iterable[tuple[Item, Traced]]) -> Mapping[str, Stage]:
        """Item → the stage in which its upload, which was taken now, gets its semantic ID."""
        if self._export is None:
            return NO_STAGES
        traced = [(item, record) for item, record in uploads if record.traceparent]
        taken = self.taken(UPLOADS, {record.offset: record for _, record in traced}.values())
        for stage in taken.values():
            stage.end()
        found: dict[str, Stage] = {}
        items: Counter[int] = Counter()
        for item, record in traced:
            items[record.offset] += 1
            if record.offset in taken and items[record.offset] <= MOST_ITEMS:
                found |= self.of_item("assign semantic ID", item.item_id, taken[record.offset])
        return found

    def of_item(self, name: str, item_id: str, after: Stage) -> dict[str, Stage]:
        """Item → a stage that begins now, behind another one; nothing if it is not sampled."""
        from stream.tracing.spans import begun

        if self._export is None:
            return {}
        stage = begun(self._export.tracer, name, after.context, {"sidestream.item_id": item_id})
        return {} if stage is None else {item_id: stage}

    def seen(self, name: str, record: Any, item_id: str) -> None:
        """What a record (aiokafka's) of a state topic tells of an item counts in this scorer from now on."""
        if self._export is None:
            return
        for traceparent in islice(_named(record.headers), MOST_TRACES):
            stage = self._of_record(name, record, record.timestamp, traceparent, **{"sidestream.item_id": item_id})
            if stage is not None:
                stage.end()

    def of_request(self, method: str, route: str, traceparent: bytes) -> Stage | None:
        """The stage in which a request is answered, from now on; None if its trace is not sampled."""
        if self._export is None:
            return None
        from opentelemetry.trace import SpanKind

        return self._behind(
            traceparent, f"{method} {route}", {"http.request.method": method, "http.route": route}, SpanKind.SERVER
        )

    def _of_record(
        self, name: str, record: Any, since_ms: int, traceparent: bytes, **attributes: str | int
    ) -> Stage | None:
        from opentelemetry.trace import SpanKind

        where = place(record.topic, record.partition) | {"messaging.kafka.offset": record.offset, **attributes}
        return self._behind(traceparent, name, where, SpanKind.CONSUMER, since_ms)

    def _behind(
        self,
        traceparent: bytes,
        name: str,
        attributes: dict[str, str | int],
        kind: SpanKind,
        since_ms: int | None = None,
    ) -> Stage | None:
        """A stage behind the one that a header names."""
        from stream.tracing.spans import begun, parent_in

        assert self._export is not None
        parent = parent_in(traceparent)
        if parent is None:
            self._malformed()
            return None
        return begun(self._export.tracer, name, parent, attributes, since_ms=since_ms, kind=kind)


class TracedRows:
    """The stages that changed rows which are not published yet. Belongs to one partition."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._waiting: dict[str, list[Stage]] = {}

    def changed(self, item_ids: Iterable[str], stage: Stage) -> None:
        """What was taken in `stage` changed the rows of these items."""
        for item_id in islice(dict.fromkeys(item_ids), MOST_ITEMS):
            held = self._waiting.setdefault(item_id, [])
            if len(held) < MOST_TRACES:
                held.append(stage)

    def publishing(self, item_ids: Iterable[str]) -> Mapping[str, list[Stage]]:
        """Item → stages in which its row is published, of those of these items that were changed in any. What is not
        published now is forgotten."""
        if not self._waiting:
            return NO_STAGES
        waiting, self._waiting = self._waiting, {}
        found: dict[str, list[Stage]] = {}
        for item_id in item_ids:
            for stage in waiting.get(item_id, ()):
                found.setdefault(item_id, []).extend(
                    self._stages.of_item("publish item-states", item_id, stage).values()
                )
        return found


def place(topic: str, partition: int) -> dict[str, str | int]:
    """Where a record lies, by OpenTelemetry's names."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
    }


def _named(headers: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    return (value for name, value in headers if name == TRACEPARENT and value)

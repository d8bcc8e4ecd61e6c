"""Stages: which records are gone on with, how many, and what is told of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from store.topics import ENGAGEMENTS, ITEM_SIGNALS, UPLOADS
from stream.kafka.records import Record
from stream.tracing.stages import MOST_ITEMS, MOST_TRACES, Stages, TracedRows

SAMPLED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_SAMPLED = SAMPLED[:-1] + b"0"


class Told:
    """Stages, and what they told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.malformed = 0
        export: Any = SimpleNamespace(tracer=provider.get_tracer("test"))
        self.stages = Stages(export, self._is_malformed)

    def _is_malformed(self) -> None:
        self.malformed += 1

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@pytest.fixture
def told() -> Told:
    return Told()


def record(offset: int, traceparent: bytes = SAMPLED, came_at_ms: int = -1) -> Record:
    return Record("s.uploads", 1, offset, 5_000, b"k", b"v", lambda: None, came_at_ms, traceparent)


def item(item_id: str) -> Any:
    return SimpleNamespace(item_id=item_id)


def state(*traceparents: bytes) -> Any:
    headers = [("generation", b"1"), *(("traceparent", each) for each in traceparents)]
    return SimpleNamespace(topic="s.item-states", partition=1, offset=3, timestamp=6_000, headers=headers)


def test_without_a_collector_nothing_is_told() -> None:
    off = Stages()
    assert not off.taken(UPLOADS, [record(1)])
    assert not off.assigning([(item("i"), record(1))])
    off.seen("visible", state(SAMPLED), "i")
    assert not TracedRows(off).publishing(["i"])


def test_a_record_is_a_stage_since_it_came_first(told: Told) -> None:
    taken = told.stages.taken(
        ENGAGEMENTS, [record(1, b""), record(2, came_at_ms=4_000), record(3, NOT_SAMPLED), record(4, b"soon")]
    )
    assert list(taken) == [2]
    taken[2].end()
    [span] = told.spans
    assert (span.name, span.start_time) == ("absorb engagements", 4_000 * 10**6)
    assert dict(span.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "s.uploads",
        "messaging.destination.partition.id": "1",
        "messaging.kafka.offset": 2,
    }
    assert told.malformed == 1


def test_uploads_of_a_frame_are_received_once_and_only_some_are_gone_on_with(told: Told) -> None:
    one = record(7)
    stages = told.stages.assigning(
        [(item(f"i{n}"), one) for n in range(2 * MOST_ITEMS)] + [(item("x"), record(8, b""))]
    )
    assert told.names == ["receive uploads"]
    assert list(stages) == [f"i{n}" for n in range(MOST_ITEMS)]
    stages["i3"].end()
    received, assigned = told.spans
    assert assigned.parent is not None
    assert received.context is not None
    assert assigned.parent.span_id == received.context.span_id
    assert (assigned.attributes or {})["sidestream.item_id"] == "i3"


def test_a_row_of_many_traces_is_told_of_some(told: Told) -> None:
    told.stages.seen("visible", state(*[SAMPLED] * (2 * MOST_TRACES)), "i")
    told.stages.seen("visible", state(), "i")
    assert told.names == ["visible"] * MOST_TRACES
    assert told.spans[0].start_time == 6_000 * 10**6


def test_rows_are_published_for_the_records_that_changed_them(told: Told) -> None:
    rows = TracedRows(told.stages)
    first, second = told.stages.taken(ITEM_SIGNALS, [record(1), record(2)]).values()
    rows.changed(["i", "j", "i"], first)
    rows.changed(["i"], second)
    found = rows.publishing(["i", "k"])
    assert {item_id: len(stages) for item_id, stages in found.items()} == {"i": 2}
    parents = [stage.span.parent.span_id for stage in found["i"]]  # type: ignore[attr-defined]
    assert parents == [one.span.get_span_context().span_id for one in (first, second)]
    assert not rows.publishing(["i", "j"]), "each is published once"


def test_what_waits_for_its_publication_is_bounded(told: Told) -> None:
    rows = TracedRows(told.stages)
    for stage in told.stages.taken(ITEM_SIGNALS, [record(n) for n in range(2 * MOST_TRACES)]).values():
        rows.changed((f"i{n}" for n in range(2 * MOST_ITEMS)), stage)
    found = rows.publishing(f"i{n}" for n in range(2 * MOST_ITEMS))
    assert len(found) == MOST_ITEMS
    assert {len(stages) for stages in found.values()} == {MOST_TRACES}

"""The publisher's part of a trace: in the caller's span, or at the head of one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, format_trace_id, use_span

from store.settings import Settings
from stream.client.publisher import Publisher
from stream.kafka.deliveries import Delivery, Framing
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import events_of, read_topic, settings_on
from tests.stream.tracing.collector import Collector, collecting

PATIENT = Framing(linger_s=60.0)
"""A slow machine closes no frame before its time."""


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "tracing.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


def click(number: int) -> dict[str, Any]:
    return {
        **{"event_id": f"e{number} {time.time()}", "user_id": "u", "item_id": "i"},
        **{"kind": "click", "occurred_at": time.time()},
    }


def sent(settings: Settings, *spans: Any) -> list[tuple[str, int]]:
    """Publishes two engagements in each of these; of each record the trace that it names, and its events."""
    known = len(read_topic(settings, "engagements"))
    with Publisher(settings=settings, framing=PATIENT) as publisher:
        for span in spans:
            with span:
                publisher.engagement(click(1))
                publisher.engagement(click(2))
    records = read_topic(settings, "engagements")[known:]
    return [
        (dict(record.headers).get("traceparent", b"").decode()[3:35], len(events_of([record]))) for record in records
    ]


def test_outside_of_any_span_nothing_is_named(settings: Settings) -> None:
    assert sent(settings, nullcontext(), nullcontext()) == [("", 4)]


def test_what_is_published_in_different_spans_travels_apart_and_in_order(settings: Settings) -> None:
    tracer = TracerProvider().get_tracer("application")
    first, second = (tracer.start_span("request") for _ in range(2))
    ids = [format_trace_id(span.get_span_context().trace_id) for span in (first, second)]
    found = sent(settings, use_span(first), use_span(second), nullcontext(), use_span(second))
    assert found == [(ids[0], 2), (ids[1], 2), ("", 2), (ids[1], 2)]


def test_a_caller_that_is_not_sampled_is_none(settings: Settings) -> None:
    quiet = TracerProvider(sampler=ALWAYS_OFF).get_tracer("application")
    assert sent(settings, quiet.start_as_current_span("request")) == [("", 2)]


def test_a_span_that_nobody_records_is_gone_on_with(settings: Settings) -> None:
    """A framework has put what its own request named into the context; there is no tracer provider."""
    context = trace.SpanContext(7, 9, True, trace.TraceFlags(1))
    [(named, events)] = sent(settings, use_span(NonRecordingSpan(context)))
    assert (named, events) == (format_trace_id(7), 2)


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    with collecting() as found:
        yield found


def test_with_a_collector_a_share_begins_traces(settings: Settings, collector: tuple[Collector, str]) -> None:
    tracing = msgspec.structs.replace(settings.tracing, endpoint=collector[1], sample_share=1.0)
    traced, told = msgspec.structs.replace(settings, tracing=tracing), list[Delivery]()
    with Publisher(settings=traced, framing=PATIENT, on_delivery=told.append) as publisher:
        deliveries = {publisher.engagement(click(n)) for n in range(3)}
        deliveries.add(publisher.upload({"item_id": "i", "uploaded_at": 1.0}))
        publisher.take_down("i")
        publisher.send("checkpoints", "request", b"{}")
    assert sorted(span.name for span in collector[0].seen) == [
        *("publish engagements", "publish uploads", "publish uploads"),
    ]
    assert {span.attributes["messaging.batch.message_count"] for span in collector[0].seen} == {1, 3}
    assert all(span.parent_id == "" and not span.failed for span in collector[0].seen)
    assert deliveries <= set(told)

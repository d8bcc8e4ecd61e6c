"""What a header names as its trace, whoever wrote it, and stages with times that are given."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span

from stream.tracing.spans import Stage, begun, parent_in

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_the_standards_own_example_is_read() -> None:
    found = parent_in(f"00-{TRACE}-{SPAN}-01".encode())
    assert found is not None
    context = get_current_span(found).get_span_context()
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (TRACE, SPAN)
    assert context.trace_flags.sampled
    assert context.is_remote


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"soon",
        f"00-{TRACE}-{SPAN}".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01-{'x' * 600}".encode(),
        b"\xff\x00" * 20,
    ],
)
def test_what_names_no_trace_is_none(value: bytes) -> None:
    assert parent_in(value) is None


@given(st.binary(max_size=80))
def test_whatever_stands_there_is_no_error(value: bytes) -> None:
    parent_in(value)


def test_a_stage_names_itself_before_it_ends_and_never_ends_before_it_began() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer, ahead_ms = provider.get_tracer("test"), int(time.time() * 1000) + 60_000
    first = begun(tracer, "first", parent_in(f"00-{TRACE}-{SPAN}-01".encode()), {"n": 1}, since_ms=1000)
    assert isinstance(first, Stage)
    [(name, value)] = first.headers
    second = begun(tracer, "second", parent_in(value), {}, since_ms=ahead_ms)
    assert second is not None
    second.end("TimeoutError")
    first.end()
    late, early = exporter.get_finished_spans()
    assert name == "traceparent"
    assert late.parent is not None
    assert early.context is not None
    assert late.parent.span_id == early.context.span_id
    assert (early.start_time, late.start_time, late.end_time) == (10**9, ahead_ms * 10**6, ahead_ms * 10**6)
    assert (early.status.is_ok, late.status.description) == (True, "TimeoutError")


def test_what_is_not_sampled_has_no_stages() -> None:
    parent = parent_in(f"00-{TRACE}-{SPAN}-00".encode())
    assert parent is not None
    assert begun(TracerProvider().get_tracer("test"), "first", parent, {}) is None

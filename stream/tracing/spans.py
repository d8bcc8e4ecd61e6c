"""Spans: one stage of one trace each, from and to times that are given, and how a record names the one before it.

The only modules that load OpenTelemetry are this one and `stream.tracing.export`; import them where they are needed.

Invariant: whatever a record names as its trace, the answer is a parent or None.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from store.headers import TRACEPARENT

_W3C = TraceContextTextMapPropagator()
MOST_BYTES = 512
"""Of a header that may name a trace."""

Attributes = Mapping[str, str | int | float | bool]


def parent_in(traceparent: bytes) -> Context | None:
    """What a header names; None for one that names nothing."""
    if len(traceparent) > MOST_BYTES:
        return None
    found = _W3C.extract({TRACEPARENT: traceparent.decode("latin-1")}, Context())
    return found if trace.get_current_span(found).get_span_context().is_valid else None


def traceparent_of(span: Span) -> bytes:
    """What names a span in a header."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACEPARENT, "").encode()


class Stage(NamedTuple):
    """A stage under way: it has a name for those that come after it before it has ended."""

    span: Span
    began_ns: int

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Of the records that it leads to."""
        return [(TRACEPARENT, traceparent_of(self.span))]

    @property
    def context(self) -> Context:
        return trace.set_span_in_context(self.span, Context())

    def end(self, fault: str = "") -> None:
        """It is over now. A clock that is behind the one that told its beginning makes it last no time."""
        if fault:
            self.span.set_status(StatusCode.ERROR, fault)
        self.span.end(max(self.began_ns, time.time_ns()))


def begun(
    tracer: Tracer,
    name: str,
    parent: Context | None,
    attributes: Attributes,
    *,
    since_ms: int | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> Stage | None:
    """A stage that began at `since_ms` (epoch milliseconds; None: now); None if its trace is not sampled."""
    began_ns = time.time_ns() if since_ms is None else since_ms * 1_000_000
    given: Any = dict(attributes)
    span = tracer.start_span(name, context=parent, kind=kind, attributes=given, start_time=began_ns)
    return Stage(span, began_ns) if span.get_span_context().trace_flags.sampled else None

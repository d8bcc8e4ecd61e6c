"""Publishing: the first stage of a trace, from when an application publishes an event to when the broker has it.

A record is part of the trace in which its caller is: of a span of the application's own that is current and sampled.
With `[tracing]` in the settings the spans go to that collector, and a share of what is published outside of any span
begins a trace; without it they are the application's own, by the tracer provider that it has set up, if it has loaded
OpenTelemetry at all.

Invariant: what is not traced is published all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from store.settings import Tracing
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS
from stream.tracing.opening import open_export
from stream.tracing.stages import place

if TYPE_CHECKING:
    from stream.tracing.spans import Stage

TRACED = (UPLOADS, ENGAGEMENTS, PROFILES)

Caller = object | None
"""The span that a caller is in; None outside of any that is sampled."""


class Sent(Protocol):
    """What became of a record (`stream.kafka.deliveries`)."""

    topic: str
    partition: int
    events: int
    error: Exception | None
    spilled: bool


class PublishTraces:
    """Of one publisher; may be used by any thread. `then` is told of each record that has ended, too. Raises
    `SettingsError` as `open_export` does."""

    def __init__(self, tracing: Tracing, then: Callable[[Any], None] | None = None) -> None:
        self._export = open_export(tracing)
        self._then = then
        self._begun: dict[Any, Stage] = {}

    def caller(self) -> Caller:
        """The span that this thread is in. What is published in different ones is not framed together."""
        current = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
        if current is None:
            return None
        context = current().get_span_context()
        return context if context.is_valid and context.trace_flags.sampled else None

    def begin(self, name: str, sent: Sent, caller: Caller) -> Sequence[tuple[str, bytes]]:
        """The stage of a record for the topic `name` begins in this thread; returns its headers."""
        if (caller is None and self._export is None) or name not in TRACED:
            return ()
        from opentelemetry.trace import SpanKind, get_tracer

        from stream.tracing.spans import begun

        tracer = get_tracer("sidestream") if self._export is None else self._export.tracer
        stage = begun(tracer, f"publish {name}", None, place(sent.topic, sent.partition), kind=SpanKind.PRODUCER)
        if stage is None:
            return ()
        self._begun[sent] = stage
        return stage.headers

    def ended(self, sent: Sent) -> None:
        """The broker has the record, or will not have it from this publisher."""
        if (stage := self._begun.pop(sent, None)) is not None:
            stage.span.set_attribute("messaging.batch.message_count", sent.events)
            if sent.spilled:  # on a disk that keeps no headers
                stage.span.set_attribute("sidestream.spilled", True)
            stage.end("" if sent.error is None else type(sent.error).__name__)
        if self._then is not None:
            self._then(sent)

    def stop(self) -> None:
        """Sends what is left, for a moment."""
        if self._export is not None:
            self._export.stop()

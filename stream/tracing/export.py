"""Export: ended spans on their way to a collector, in batches, by a thread of their own.

The batches and the protocol are OpenTelemetry's. What is added: those on their way count among the spans that may wait,
what does not get there is counted, and a collector that is away is one line of the log, not one for each batch.

Invariant: whoever ends a span never waits, and `stop` waits no longer than it is told.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence

import requests
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from store.reporting.outages import Outage
from store.settings import Tracing

log = logging.getLogger(__name__)

MOST_WAITING = 2048
"""Spans that have ended and were neither taken nor given up; one more is dropped."""
BATCH = 256
EVERY_MS = 1000
STOP_S = 2.0
"""So long a stop waits for what is left to get there."""

Counted = Callable[[str, int], None]
"""Told what became of spans (`exported` or `dropped`) and of how many; from any thread."""


class _Said(logging.Filter):
    """What the library says while it sends for us is the reason of an outage, no line of its own; others of this
    process may use the library, too."""

    def __init__(self) -> None:
        super().__init__()
        self._sending: int | None = None
        self.first = ""

    def begin(self) -> None:
        self._sending, self.first = threading.get_ident(), ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._sending:
            return True
        self.first = self.first or record.getMessage()
        return False


class _Counting(SpanExporter):
    """Sends by `exporter`, and says what came of it."""

    def __init__(self, exporter: SpanExporter, endpoint: str, counted: Counted) -> None:
        self._exporter = exporter
        self._counted = counted
        self._said = _Said()
        self._away = Outage(log, f"the collector {endpoint} takes no spans", "they are dropped, and nothing else is")
        self.taken = 0
        """Spans that were sent or given up, since the start."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._said.begin()
        trace_exporter._logger.addFilter(self._said)
        try:
            result, why = self._exporter.export(spans), self._said.first
        except Exception as error:  # whatever it is: the thread that sends goes on
            result, why = SpanExportResult.FAILURE, repr(error)
        finally:
            trace_exporter._logger.removeFilter(self._said)
        self.taken += len(spans)
        if result is SpanExportResult.SUCCESS:
            self._counted("exported", len(spans))
            self._away.over()
        else:
            self._counted("dropped", len(spans))
            self._away.met(why or "no reason given")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Bounded(BatchSpanProcessor):
    """Batches, of which no more wait than `MOST_WAITING` spans, those on their way included."""

    def __init__(self, exporter: _Counting, counted: Counted) -> None:
        super().__init__(exporter, 2 * MOST_WAITING, EVERY_MS, BATCH)
        self._exporter, self._counted = exporter, counted
        self._lock = threading.Lock()
        self._accepted = 0

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            if has_room := self._accepted - self._exporter.taken < MOST_WAITING:
                self._accepted += 1
        if has_room:
            super().on_end(span)
        else:
            self._counted("dropped", 1)


class Export:
    """The way to one collector. `headers`: what each request bears beside those of the environment
    (`OTEL_EXPORTER_OTLP_HEADERS`)."""

    def __init__(self, tracing: Tracing, headers: Mapping[str, str], counted: Counted) -> None:
        session = requests.Session()
        session.trust_env = False  # else REQUESTS_CA_BUNDLE outdoes `ca_file`, and a .netrc the headers
        sender = OTLPSpanExporter(
            endpoint=spans_url(tracing.endpoint),
            certificate_file=tracing.ca_file or ssl.get_default_verify_paths().cafile,
            headers=dict(headers),
            timeout=tracing.timeout_s,
            session=session,
        )
        ratio = TraceIdRatioBased(tracing.sample_share)
        self._provider = TracerProvider(
            sampler=ParentBased(root=ratio, remote_parent_sampled=ratio, local_parent_sampled=ratio),
            resource=Resource.create(
                {"service.name": tracing.service_name, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(_Bounded(_Counting(sender, tracing.endpoint, counted), counted))
        self.tracer: Tracer = self._provider.get_tracer("sidestream")

    def stop(self, within_s: float = STOP_S) -> None:
        """What is left is sent, as far as that takes no longer than `within_s`."""
        ending = threading.Thread(target=self._provider.shutdown, name="sidestream-spans-end", daemon=True)
        ending.start()
        ending.join(within_s)


def spans_url(endpoint: str) -> str:
    """Where a collector takes spans; `endpoint` may say so itself."""
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"

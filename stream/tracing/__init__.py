"""Tracing: what became of single events, as OpenTelemetry spans that leave for a collector (docs/tracing.md).

May import `store`. Invariant: where nothing is traced nothing of OpenTelemetry is loaded; and a collector that is away,
slow or hostile, and a header that anybody may have written, cost spans, never an event, an answer or a stop."""

"""The faces that applications ask: HTTP with its page and OpenAPI document, and requests over Kafka.

May import `store`, `stream.kafka`, `stream.metrics`, `stream.ingest` and `stream.tracing`; a worker is known by its
`contract`.
Invariant: bad input is refused with the field and the remedy before anything else sees it."""

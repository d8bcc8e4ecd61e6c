"""Others: what a worker has of its users for those that answer elsewhere, and what it hears of them.

May import `store`, `stream.kafka`, `stream.metrics`, `stream.ingest` and what `stream.serving` has beside it.
Invariant: nothing here waits for another worker while somebody waits for an answer."""

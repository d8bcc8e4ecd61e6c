"""Ingest: agents and the partitions that they feed; engagements become user rows and signals, signals become item rows,
uploads become cards.

May import `store`, `trainer` (its rules), `trainer.content`, `trainer.items`, `trainer.semantic_ids`, `stream.kafka`,
`stream.metrics` and `stream.tracing`; what serves is handed in.

Invariant: every accepted record is absorbed exactly once (`docs/exactly-once.md`)."""

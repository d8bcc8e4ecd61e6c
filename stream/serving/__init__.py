"""Serving: the scorer of a running worker, the exchange of checkpoints, and what a worker answers; what one keeps in a
scorer's place that answers nothing (`learning`), and what workers tell each other (`others`).

May import `store`, `trainer` (the modules at its root), `trainer.content`, `trainer.items`, `trainer.ranking`,
`trainer.semantic_ids`, `trainer.tables`, `stream.kafka`, `stream.metrics`, `stream.ingest` and `stream.tracing`.
Invariant: no answer mixes two checkpoints, and no request fails because of an exchange."""

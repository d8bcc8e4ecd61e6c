"""Serving: the scorer of a running worker, the exchange of checkpoints, and what a worker answers.

May import `store`, `trainer` (the modules at its root), `trainer.content`, `trainer.ranking`, `trainer.semantic_ids`,
`trainer.tables`, `stream.kafka`, `stream.metrics`, `stream.ingest` and `stream.tracing`. Invariant: no answer mixes two
checkpoints, and no request fails because of an exchange."""

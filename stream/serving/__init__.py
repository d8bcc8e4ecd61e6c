"""Serving: the scorer of a running worker, the exchange of checkpoints, and what a worker answers.

May import `stream.kafka`, `stream.metrics` and `stream.ingest`. Invariant: no answer mixes two checkpoints, and no
request fails because of an exchange."""

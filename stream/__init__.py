"""Motion: agents, scorer, publisher, broker, web and commands.

Packages, from the bottom up: `broker` and `terminal` (alone), `metrics`, `tracing`, `kafka`, `ingest`, `serving`,
`web`, `client`; above them at this root `worker` with what it is made of (`reading`, `absorbing`, `answering`) and its
process, and `up`, the system of one machine; then `demo`, and `cli` at the top.

The worker puts together what is below it. May import `store`, `trainer` (the modules at its root), `trainer.content`,
`trainer.items`, `trainer.semantic_ids`, `stream.kafka`, `stream.metrics`, `stream.ingest`, `stream.serving`,
`stream.tracing` and `stream.web`.

Invariant: what happens to an event is decided by pure functions below; the rest reads, sends and acknowledges."""

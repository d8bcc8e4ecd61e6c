"""Motion: agents, scorer, publisher, broker, web and commands. Uses `store` and `trainer`.

Packages, from the bottom up: `broker` and `terminal` (alone), `metrics`, `kafka`, `ingest`, `serving`, `web`, `client`;
above them `worker` and its process at this root and `up`, the system of one machine; then `demo`, and `cli` at the top.

Invariant: what happens to an event is decided by pure functions below; the rest reads, sends and acknowledges."""

"""Motion: agents, scorer, publisher, broker, web and commands. Uses `store` and `trainer`.

Packages, from the bottom up: `broker` (alone), `metrics`, `kafka`, `ingest`, `serving`, `web`, `client`; above them the
processes `worker` and `up` at this root, then `demo` and `cli`.

Invariant: what happens to an event is decided by pure functions below; the rest reads, sends and acknowledges."""

"""Learning: pure functions and models that turn remembered events into recommendations. Uses `store` only.

Packages, from the bottom up: `content` → `items` → `retrieval` → `ranking`; beside them `semantic_ids`, upon `content`,
and `model`, upon none; above them the modules at this root; above those `evaluation`, then `runs`.

Invariant: nothing here knows Kafka clients, Faust or HTTP; what is learned is a function of what is handed in."""

"""Learning: pure functions and models that turn remembered events into recommendations. Uses `store` only.

Packages, from the bottom up: `content` → `items` → `retrieval` → `semantic_ids` → `model` → `ranking`; above them the
modules at this root (`recommender`, `model_bundle`, `exploration`, `reasons`); above those `evaluation`, then `runs`.

Invariant: nothing here knows Kafka clients, Faust or HTTP; what is learned is a function of what is handed in."""

"""Semantic IDs: codebooks that turn content into a path of codes; their training, files, health and drift.

May import `store` and `trainer.content`. Invariant: a codebook version is frozen; the same content gets the
same codes under it on every machine."""

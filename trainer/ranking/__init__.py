"""The ranker: features of candidates, the order learned from engagements, and the heads learned from what was shown.

May import `store`, `trainer.items` and `trainer.retrieval`. Invariant: a feature depends only on what was known
before the engagement that it helps to predict."""

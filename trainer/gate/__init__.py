"""The gate: whether a trained model may serve, judged by what the system gains.

May import `store`, `trainer` (the modules at its root), `trainer.model` and `trainer.ranking`. Invariant: what is asked
was not learned from."""

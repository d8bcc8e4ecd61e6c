"""The gate: whether a trained model may serve, judged by what the system gains.

May import `store`, `trainer.model`, `trainer.ranking` and the modules at the root of `trainer`. Invariant: what is asked
was not learned from."""

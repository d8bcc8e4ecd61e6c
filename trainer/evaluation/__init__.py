"""Evaluation: a recorded stream run through the functions of the running system, testing before learning; its report.

May import `store`, `trainer` (the modules at its root), `trainer.content`, `trainer.items`, `trainer.ranking` and
`trainer.semantic_ids`. Invariant: what is reported of an engagement depends on nothing
after it."""

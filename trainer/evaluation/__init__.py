"""Evaluation: a recorded stream run through the functions of the running system, testing before learning; its report.

May import everything of `trainer` but `trainer.runs`. Invariant: what is reported of an engagement depends on nothing
after it."""

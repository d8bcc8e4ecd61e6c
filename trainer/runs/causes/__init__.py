"""Why a run starts, and with which codebook: triggers, drift of the serving model, the choice of codebook.

May import what `trainer.runs` may. Invariant: a cause is a function of counts, times and scores; nothing here reads the
log or writes to it."""

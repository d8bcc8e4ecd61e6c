"""The trainer process: when a training run starts, what it reads, trains and judges, and what it announces.

May import everything of `trainer`; nothing of `trainer` imports it. Invariant: no checkpoint is announced for serving
that has not passed the gate."""

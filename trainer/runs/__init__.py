"""The trainer process: when a training run starts, what it reads, trains and judges, and what it announces.

May import `store`, `trainer` (the modules at its root), `trainer.content`, `trainer.evaluation`, `trainer.gate`,
`trainer.model`, `trainer.ranking` and `trainer.semantic_ids`; nothing else of the layer imports it.

Invariant: no checkpoint is announced for serving that has not passed the gate."""

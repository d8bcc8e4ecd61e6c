"""Starting: where a run begins: what of the log it learns from, its first weights, or where a killed run had come.

May import what `trainer.runs` may. Invariant: nothing here is visible to a scorer.
"""

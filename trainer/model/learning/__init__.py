"""Learning: what changes the model's weights: the loop of steps, its optimiser, and how a model follows a new codebook.

May import what `trainer.model` may, and that. Invariant: the same inputs, seed and number of threads give the same
weights.
"""

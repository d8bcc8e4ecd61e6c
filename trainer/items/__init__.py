"""The items as a scorer holds them: columns, transitions between items, learned vectors and the spectral embedding.

May import `store` and `trainer.content`.

Invariant: everything here is a function of cards and rows, in whatever order these came."""

"""Content: an item by itself: its words, unit vectors of its text and given vectors, and their projection.

May import `store`. Invariant: a vector depends on its own item, not on its batch or the machine."""

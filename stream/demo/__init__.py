"""The demonstration: a stream, acts that are seen from outside with their times, and a simulated population.

May import `store`, `stream.client` and `stream.terminal`. Invariant: an act uses public ways only."""

"""Structures in memory: the prefix tree of semantic IDs, sums of vectors by prefix, a pool of equal blocks, a cache.

May import numpy and nothing of sidestream. Invariant: what they hold is bounded, or grows with the items only."""

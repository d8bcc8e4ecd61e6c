"""Precomputed: tables of answers (`trainer.tables`) in a running scorer: kept in the background, asked first.

May import what `stream.serving` may. Invariant: nothing is computed in the event loop; an answer of a table is counted,
attributed and told of like any other."""

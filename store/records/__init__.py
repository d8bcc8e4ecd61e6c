"""Records of the log, whatever they hold: which of two counts, which are none of ours, and what of
an event is worth keeping.

May import the rest of `store`. Invariant: nothing here depends on who reads, or in which order it comes.
"""

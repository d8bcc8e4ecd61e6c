"""Records of the log, whatever they hold: which of two counts, and which are none of ours.

May import the rest of `store`. Invariant: nothing here depends on who reads, or in which order it comes.
"""

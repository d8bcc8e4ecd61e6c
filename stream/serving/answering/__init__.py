"""Answering: the thread that makes a scorer's answers.

May import what `stream.serving` may. Invariant: an answer is what its request has alone, whoever asks beside it."""

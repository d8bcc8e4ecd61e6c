"""Watching: what a running scorer measures of itself: the live metric, and a new model on probation.

May import what `stream.serving` may. Invariant: what is measured was ranked before it was learned from; two models
that are compared are asked at one time."""

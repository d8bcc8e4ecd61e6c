"""Candidates: which items could be next for a request, from many cheap sources, and what answers a query in words.

May import `store`, `trainer.content` and `trainer.items`. Invariant: a source proposes only what it is allowed
to (live, not the user's)."""

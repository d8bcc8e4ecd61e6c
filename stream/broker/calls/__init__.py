"""The broker's request handlers, by kind: about records, groups, and administration.

May import the rest of `stream.broker`. Invariant: what a handler refuses is an error code of the protocol in its
answer, never an exception."""

"""The console: what a person on call sees of a worker beside the contract, and the levers that the page has.

May import what `stream.web` may. Invariant: everything here is bounded: samples, streams, what is read at a time; and
what is not known is null, never zero."""

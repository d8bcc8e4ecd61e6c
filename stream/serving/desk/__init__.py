"""The desk of a person on call: what the page shows of a worker beside the contract, and the levers that it has.

May import what `stream.serving` may. Invariant: what is not known is None, and nothing here blocks the event loop or
stops the worker when it fails."""

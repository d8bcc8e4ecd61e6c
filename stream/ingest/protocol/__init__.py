"""The protocol of one partition: absorb, send, publish, acknowledge, in that order, whatever is killed or paused.

May import `store`, `stream.kafka`, `stream.metrics` and `stream.tracing`. Invariant: nothing is acknowledged that is
not safe in the log, and nothing that was read is left out (`docs/exactly-once.md`).
"""

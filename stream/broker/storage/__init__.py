"""The broker's disk: record batches in segments, logs of partitions, compaction, topics, committed offsets.

May import the errors and the protocol of `stream.broker`. Invariant: what was acknowledged is there after a kill."""

"""The broker's disk: record batches in segments, logs of partitions, compaction, topics, committed offsets.

Invariant: what was acknowledged is there after a kill."""

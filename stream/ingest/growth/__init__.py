"""What keeps the rows of a partition from growing for ever, and tells of what makes them grow.

May import what `stream.ingest` may. Invariant: nothing that is counted once is counted twice because a row went."""

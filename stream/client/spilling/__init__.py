"""The spill: what the brokers did not take in its time, on disk until they do.

May import `store` and `stream.kafka`. Invariant: what ended as spilled is on the disk until it was acknowledged, and
events of one partition reach the log in the order in which they were published, but for repetitions."""

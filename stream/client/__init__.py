"""What applications use: the publisher and the client, recorded streams, and asking the trainer for a run.

May import `store`, `stream.kafka` and `stream.tracing`. Invariant: an application that only asks loads
neither Kafka nor torch."""

"""The log as this system uses it: connections, topics, the emitter, state topics, dead letters, consumer lag.

May import `store`. Invariant: only this package and the agents know how a Kafka client is configured."""

"""Envelopes: what other systems wrap an event in on its way to the log (CloudEvents, rows of Debezium and of Kafka
Connect), and how the event is taken out.

May import the rest of `store`. Invariant: an envelope is looked at only where no plain event could be decoded; what
comes out of it is judged as a plain event is, and a refusal keeps the envelope whole.
"""

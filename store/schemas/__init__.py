"""Schemas: records that a schema registry's clients wrote (Avro, JSON Schema), as the JSON that they stand for.

May import the rest of `store`. Invariant: a schema is asked for once, for it never changes; and while no registry
answers, a record is neither lost nor refused: whoever reads it is told, and waits.
"""

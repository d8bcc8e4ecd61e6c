"""Reading: what every scorer takes from the topics that it reads whole, and what of it has to wait.

May import `store`, `stream.kafka` and `trainer`. Invariant: a record that is not what its topic holds changes nothing.
"""

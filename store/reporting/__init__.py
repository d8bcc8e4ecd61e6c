"""Reporting: what a process says of itself in its log: lines as text or JSON, outages told once, clients kept short.

May import the rest of `store`. Invariant: a line of the log is one line, whatever is in it."""

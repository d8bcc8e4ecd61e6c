"""Tables: rows of other systems' tables, and how they become events.

May import the rest of `store`. Invariant: what cannot be made sure of (which moment, which column) is refused by name,
never guessed.
"""

"""Tables: files as other systems export them (CSV, JSON lines, Parquet), read row by row and mapped onto events.

May import the rest of `stream.client`, and what that may. Invariant: a row is read, mapped or named as bad by its
number; none disappears, and a file of any size takes bounded memory.
"""

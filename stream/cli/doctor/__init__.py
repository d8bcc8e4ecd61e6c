"""The doctor: whatever a system needs of its surroundings, looked at from one machine.

May import what `stream.cli` may. Invariant: looking changes nothing, in the log or in the data folder.
"""

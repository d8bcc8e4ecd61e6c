"""Data in and out: files of other systems checked, imported, and what the log holds exported.

May import the rest of `stream.cli`, and what that may; what is heavy only inside the commands. Invariant: a file is
read and written a piece at a time, and what a command says of it is counted, never guessed.
"""

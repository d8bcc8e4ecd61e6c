"""What a command is given: the options that commands share, and the running system that they point at.

May import what `stream.cli` may. Invariant: an option that several commands take is declared here, once."""

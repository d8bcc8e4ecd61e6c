"""`python -m stream.cli`: the same as the command `sidestream`."""

from stream.cli import main

main()

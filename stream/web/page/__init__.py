"""The page for people: HTML, styles and scripts in files of one idea each, joined into the one that is served.

May import nothing of the house. Invariant: what the browser gets is one document that asks nobody else."""

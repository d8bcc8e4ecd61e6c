"""Face: what a trainer answers over HTTP: its metrics, whether it lives, and whether it is ready.

May import `store`. Invariant: nothing here holds up training, and unknown is not ready.
"""

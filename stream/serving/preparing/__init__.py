"""Preparing: what was announced on `checkpoints`, and how a checkpoint becomes ready to serve.

May import what `stream.serving` may. Invariant: nothing here changes what serves."""

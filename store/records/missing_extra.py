"""The error of who needs a library that only some installations have."""

from __future__ import annotations


class MissingExtraError(RuntimeError):
    """A library that only some need is not installed: the message names the extra."""

"""The error of whoever reads the log and cannot, whatever of it is away."""

from __future__ import annotations


class LogError(RuntimeError):
    """The log cannot be read: check that the broker runs at the address named and that the topic exists."""

"""Waiting for what is to happen: as long as a busy machine may need, and no longer than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 90.0
"""How long something that takes a moment on a free machine may take on one that does ten other things. It is no
promise of speed: what must be quick is measured where that is what a test is about."""


def eventually(true: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """What `true` returns once that is true."""
    end = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < end, f"it did not come true within {timeout_s:g} s"
        time.sleep(0.05)
    return found

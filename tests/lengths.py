"""How much a test looks at: what shows a fault in minutes in every run of the suite, all of it in the long one."""

from __future__ import annotations

import os

LONG = "SIDESTREAM_TEST_LONG" in os.environ


def examples(usual: int, long: int) -> int:
    """How many examples Hypothesis tries."""
    return long if LONG else usual

"""Ages: time as the ranker sees it, log2 of days.

Invariant: what never was is older than anything.
"""

from __future__ import annotations

import numpy as np

NEVER_LOG_DAYS = 20.0
"""log2 of the days since what never was."""


def log_days(age_s: np.ndarray) -> np.ndarray:
    """log2 of ages in days; a thousandth of a day is the least that counts."""
    return np.asarray(np.log2(1e-3 + np.maximum(age_s, 0.0) / 86_400.0))

"""Probation: for a while after a swap a new model is compared with the one before it, or with popularity if there was
none, on the same engagements, each before it is learned from.

What counts is what each would have shown by itself (`trainer.own_answers`), not what the whole system hits: that rests
on many other sources, and on a ranker that was fitted to the model before. Three things can be wrong:
1. It is slow: both are asked one after the other, so what slows the machine down slows both.
2. Its own proposals hit less: by score, or as it writes them.
3. It is badly calibrated: how often its ten hold the item is far from how often it says that they do, and further than
   with the other.

Invariant: harm is told only beyond a bound and beyond chance: three standard errors, since it is asked again and again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from stream.serving.watching.harm import Cause, Harm
from trainer.own_answers import OwnAnswer

LEAST, MOST = 50, 2_000
"""Engagements before anything is told, and how many of the newest count."""
_ERRORS = 3.0
LEAST_TIMED = 10
"""Pairs of answers before one of the two is called slow."""
SLOWER = 2.0
"""How many times as long as the one before a slow one takes."""

Pair = tuple[OwnAnswer, OwnAnswer]


@dataclass(frozen=True, slots=True)
class ProbationReport:
    """What was seen: shares of `engagements`. `expected`: what the model held likely for its hits."""

    engagements: int
    hits: float
    hits_before: float
    expected: float
    expected_before: float


class Probation:
    """Of one checkpoint against one before. `bound`: the part of the other's hits that it must reach, and of its own
    expectation. An answer within `most_ms` is never slow."""

    def __init__(self, bound: float, most_ms: float) -> None:
        self._bound, self._most_ms = bound, most_ms
        self._pairs: deque[Pair] = deque(maxlen=MOST)

    def add(self, new: OwnAnswer, before: OwnAnswer) -> None:
        """What both would have shown when an engagement came."""
        self._pairs.append((new, before))

    def report(self) -> ProbationReport:
        new_E2, before_E2 = self._figures()
        means = [float(np.mean(part_E)) if len(part_E) else 0.0 for part_E in (*new_E2.T, *before_E2.T)]
        return ProbationReport(len(self._pairs), means[0], means[2], means[1], means[3])

    def harm(self) -> Harm | None:
        """Why the new model does harm; None when it does not, or when that is not known yet."""
        if (slow := self._slow()) is not None or len(self._pairs) < LEAST:
            return slow
        new_E2, before_E2 = self._figures()
        worse = self._hits_less("hits", "of its own proposals", new_E2[:, 0], before_E2[:, 0])
        return worse or self._written_less() or self._badly_calibrated(new_E2, before_E2)

    def _figures(self) -> tuple[np.ndarray, np.ndarray]:
        """Hits and expectations (E 2) of the new one and of the one before."""
        new = [(one.hit, one.expected) for one, _ in self._pairs]
        before = [(one.hit, one.expected) for _, one in self._pairs]
        return np.array(new, np.float64).reshape(-1, 2), np.array(before, np.float64).reshape(-1, 2)

    def _slow(self) -> Harm | None:
        """By the clock: a model that waits for a disk or a device costs no processor. Popularity takes no time, and
        says nothing of the machine."""
        took_E2 = np.array([(new.took_ms, before.took_ms) for new, before in self._pairs if before.took_ms > 0.0])
        if len(took_E2) < LEAST_TIMED:
            return None
        new_ms, before_ms = np.median(took_E2, axis=0)
        if new_ms <= max(self._most_ms, SLOWER * before_ms):
            return None
        return Harm(
            "cost", f"an answer takes {new_ms:.0f} ms, of the one before {before_ms:.0f} ms, each asked in turn"
        )

    def _written_less(self) -> Harm | None:
        written = [(a.written, b.written) for a, b in self._pairs if a.written is not None and b.written is not None]
        if len(written) < LEAST:
            return None
        pairs_E2 = np.array(written, np.float64)
        return self._hits_less("writing", "of what it writes", pairs_E2[:, 0], pairs_E2[:, 1])

    def _hits_less(self, cause: Cause, what: str, new_E: np.ndarray, before_E: np.ndarray) -> Harm | None:
        lost_E = before_E - new_E
        if new_E.mean() < self._bound * before_E.mean() and lost_E.mean() > _ERRORS * _error(lost_E):
            of = f"{new_E.mean():.3f}, those of the one before {before_E.mean():.3f} ({len(new_E)} engagements)"
            return Harm(cause, f"the first ten {what} hit {of}")
        return None

    def _badly_calibrated(self, new_E2: np.ndarray, before_E2: np.ndarray) -> Harm | None:
        off_E, before_E = new_E2[:, 1] - new_E2[:, 0], before_E2[:, 1] - before_E2[:, 0]
        hits, expected = new_E2.mean(axis=0)
        within = self._bound * expected <= hits and self._bound * hits <= expected
        least, most = abs(off_E.mean()) - _ERRORS * _error(off_E), abs(before_E.mean()) + _ERRORS * _error(before_E)
        if within or least <= most:
            return None
        of = f"{expected:.3f}, and they hold {hits:.3f} ({len(off_E)} engagements)"
        return Harm("calibration", f"it says that its first ten hold {of}")


def _error(value_E: np.ndarray) -> float:
    """The standard error of the mean."""
    return float(value_E.std() / np.sqrt(len(value_E)))

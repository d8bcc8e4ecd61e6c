"""Ablation: what each group of features and each source is worth, measured inside one replay.

From three quarters of a stream on, the evaluated engagements keep all their candidates. Afterwards a ranker is fitted
for every group of features with that group, and the ranks by it, blanked, all to the same examples from before; and
every source is taken away in turn by dropping the candidates that it alone proposed.

Invariant: every variant ranks the same engagements with rankers fitted to the same examples, so differences are paired.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trainer.candidate_ranking import Ranking
from trainer.ranking.columns import GROUPS, without
from trainer.ranking.feedback import Feedback
from trainer.ranking.learner import RankerLearner, RankerRules, Snapshot
from trainer.ranking.ranker import Ranker

ABLATED_FROM = 0.75
MOST_KEPT = 1500
MOST_EXAMPLES = 6_000
"""The newest of these: a variant is a fit of its own, and there are as many as groups of features."""


@dataclass(frozen=True, slots=True)
class KeptRanking:
    """One evaluated engagement: features (float16), which sources proposed each row, the true row or -1."""

    x_BF: np.ndarray
    sources_BS: np.ndarray
    true: int


@dataclass(slots=True)
class Ablation:
    """Collects during a replay, then measures."""

    rules: RankerRules
    snapshot: Snapshot | None = None
    kept: list[KeptRanking] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def begin(self, learner: RankerLearner) -> None:
        """Remembers the examples so far: what all variants learn from."""
        unsaid = Feedback(0, 0, {})
        examples = list(learner.examples)[-MOST_EXAMPLES:]
        self.snapshot = Snapshot(self.rules, examples, list(learner.firsts), unsaid, learner.absorbed)

    def keep(self, ranking: Ranking, handle: int) -> None:
        """Keeps one evaluated engagement whole."""
        if self.snapshot is None or len(self.kept) >= MOST_KEPT:
            return
        self.names = list(ranking.proposed)
        sources_BS = np.stack([np.isin(ranking.handles_B, handles) for handles in ranking.proposed.values()], axis=1)
        found = np.flatnonzero(ranking.handles_B == handle)
        self.kept.append(KeptRanking(ranking.x_BF.astype(np.float16), sources_BS, int(found[0]) if len(found) else -1))

    def measure(self, k: int) -> dict[str, Any]:
        """Variant → hit ratio at k over the kept engagements, and which hits it gains and loses."""
        if self.snapshot is None or not self.snapshot.examples or not self.kept:
            return {}
        everything = self._scores(())
        whole = self._hits(everything, k)
        found = {"everything": whole}
        for group in GROUPS:
            found[f"without {group} features"] = self._hits(self._scores(tuple(without([group]))), k)
        for source in dict.fromkeys("popular" if name.startswith("popular_") else name for name in self.names):
            found[f"without source {source}"] = self._hits(everything, k, source)
        return {name: self._compared(hits_E, whole, k) for name, hits_E in found.items()}

    def _compared(self, hits_E: np.ndarray, whole_E: np.ndarray, k: int) -> dict[str, Any]:
        gained, lost = int(np.sum(hits_E & ~whole_E)), int(np.sum(whole_E & ~hits_E))
        return {f"hr@{k}": float(hits_E.mean()), "evaluated": len(hits_E), "gained": gained, "lost": lost}

    def _scores(self, blank: tuple[int, ...]) -> list[np.ndarray]:
        """Scores of all candidates of each kept engagement, by a ranker that learned without the blanked columns."""
        ranker = self._fit(blank)
        scores = []
        for one in self.kept:
            x_BF = one.x_BF.astype(np.float32)
            x_BF[:, list(blank)] = 0.0
            scores.append(ranker.score(x_BF))
        return scores

    def _fit(self, blank: tuple[int, ...]) -> Ranker:
        assert self.snapshot is not None
        return replace(self.snapshot, rules=replace(self.rules, blank=blank)).fit()

    def _hits(self, scores: list[np.ndarray], k: int, source: str | None = None) -> np.ndarray:
        """Which of the kept engagements are hit (E), without the candidates that the source alone proposed."""
        pairs = zip(self.kept, scores, strict=True)
        return np.array([one.true >= 0 and self._hit(one, score_B, k, source) for one, score_B in pairs])

    def _hit(self, one: KeptRanking, score_B: np.ndarray, k: int, source: str | None) -> bool:
        staying_B: np.ndarray = np.ones(len(score_B), bool)
        if source is not None:
            others = [place for place, name in enumerate(self.names) if not name.startswith(source)]
            staying_B = np.asarray(one.sources_BS[:, others].any(axis=1))
        return bool(staying_B[one.true]) and int(np.sum(score_B[staying_B] > score_B[one.true])) < k

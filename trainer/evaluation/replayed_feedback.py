"""Replayed feedback: the negative engagements and the impressions of a recorded stream, as the ranker learns from them.

As in a running system a seeded share is ranked before it is learned from; negative engagements become examples,
and `impression` events become requests of one line that wait in `Impressions` for what comes of them.

Invariant: nothing is learned from an impression before its window has closed in event time.
"""

from __future__ import annotations

from store.events import Engagement
from store.histories import UserRow
from store.keys import hash64
from store.settings import Settings
from trainer.ranking.impressions import Impressions, outcome_of, shown_alone
from trainer.ranking.learner import RankerLearner
from trainer.recommender import Recommender
from trainer.rules import impression_rules


class ReplayedFeedback:
    """Feeds one learner. `share` of the events are ranked."""

    def __init__(
        self,
        recommender: Recommender,
        learner: RankerLearner,
        settings: Settings,
        share: float,
    ) -> None:
        self._recommender = recommender
        self._learner = learner
        self._weights = settings.events.weights
        self._share = share
        self._impressions = Impressions(impression_rules(settings))

    def observe(self, user: UserRow | None, event: Engagement) -> None:
        """Takes in any event of the stream, before it is learned from."""
        weight = self._weights.get(event.kind, 0.0)
        self._impressions.engage(outcome_of(event, weight, None))
        for impression in self._impressions.advance(event.occurred_at):
            self._learner.absorb_impression(impression)
        if weight < 0 or (weight == 0 and event.kind == "impression"):
            self._rank(user, event, weight)

    def _rank(self, user: UserRow | None, event: Engagement, weight: float) -> None:
        if hash64(f"example/{event.event_id}") >= self._share * 2.0**64:
            return
        ranked = self._recommender.example(user, event, weight, ordered=False)
        if ranked is None:
            return
        example = ranked.example
        if weight < 0:
            self._learner.absorb(example)
        elif example.found:
            self._impressions.show(shown_alone(event, example.task, example.columns, example.features))

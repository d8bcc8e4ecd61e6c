"""Asking: two models on the same engagement, one after the other, apart from the event loop.

The loop must not wait for the model that it is to judge: one that is slow would hold up every request while it is
watched. So a thread asks, one engagement at a time, for a share of the time; what comes meanwhile is left out. Both
models are asked at one moment: what has been learned since the engagement came speaks for both.

Invariant: no method waits for a model.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from stream.serving.time_share import TimeShare
from stream.serving.watching.harm import Harm
from stream.serving.watching.probation import Pair, Probation
from trainer.candidate_ranking import Ranking
from trainer.model_bundle import NO_CHECKPOINT, ModelBundle
from trainer.own_answers import OwnAnswer, answer_of_popularity, own_answer

log = logging.getLogger(__name__)

SHARE = 0.25
"""Of the time goes to it, while a model is on probation."""
MOST_LOOKS = 40
"""So many looks of the watch in a row (`LOOK_S` apart) may find one question still unanswered. Counted in looks, not by
the clock: a process that stood still has not looked."""


class Asking:
    """Of one model on probation against the one before."""

    def __init__(self, probation: Probation, serving: ModelBundle, previous: ModelBundle) -> None:
        self.probation = probation
        self._serving, self._previous = serving, previous
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._share = TimeShare(SHARE)
        self._asked: Future[Pair | None] | None = None
        self._looks = 0
        self._new_is_asked = False

    def ask(self, ranking: Ranking, handle: int) -> bool:
        """What each would have shown for an engagement with this item goes to the probation in a while. False where the
        one before is not answered yet, or the share of the time is used up."""
        self.take()
        if self._asked is not None or not self._share.free():
            return False
        self._looks, self._new_is_asked = 0, True
        self._asked = self._thread.submit(self._ask, ranking, handle)
        return True

    def take(self) -> bool:
        """Hands what was answered to the probation; whether nothing is asked any more."""
        if self._asked is None or not self._asked.done():
            return self._asked is None
        answered, self._asked = self._asked.result(), None
        if answered is not None:
            self.probation.add(*answered)
        return True

    def look(self) -> Harm | None:
        """Why the new model does harm by all that is known now."""
        self._looks = 0 if self.take() else self._looks + 1
        if self._looks > MOST_LOOKS and self._new_is_asked:
            return Harm("cost", f"the model had no answer after {MOST_LOOKS} looks of the watch")
        return self.probation.harm()

    def close(self) -> None:
        """Nobody waits for what is still asked."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, ranking: Ranking, handle: int) -> Pair | None:
        try:
            with self._share:
                new = own_answer(self._serving, ranking, handle)
                self._new_is_asked = False
                before = self._before(ranking, handle)
        except Exception:  # what models raise is counted where they are asked; nothing here may end a worker
            log.exception("the watch could not compare two models on an engagement")
            return None
        return None if new is None or before is None else (new, before)

    def _before(self, ranking: Ranking, handle: int) -> OwnAnswer | None:
        if self._previous.checkpoint == NO_CHECKPOINT:
            return answer_of_popularity(self._serving.popularity, ranking, handle)
        return own_answer(self._previous, ranking, handle)

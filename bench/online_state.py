"""The state that serving answers from, fed event by event without Kafka: rows of users and items, vectors, recommender.

What `replay` does beside (testing, baselines, cost) is not here: a benchmark decides itself what is learned when, and
can let histories grow while everything about items stands still.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from store.events import Engagement, Upload
from store.histories import UserRow, trim
from store.histories import absorb as absorb_engagement
from store.items import ItemRow
from store.keys import partition_of
from store.settings import Settings
from trainer.content.encoder import TextEncoder
from trainer.examples import request_of
from trainer.items.item_learning import absorb as absorb_signal
from trainer.items.vector_learning import memory_learners, publish_vector
from trainer.model_bundle import ModelBundle
from trainer.ranking.learner import RankerLearner
from trainer.recommender import Recommender
from trainer.rules import embedding_rules, history_rules, ranker_rules, recommender_rules, vector_rules
from trainer.semantic_ids.cards import cards_of
from trainer.semantic_ids.codebook import zero_codebook


class OnlineState:
    """Users, items and their recommender; `learner` keeps the examples. Vectors are learned every `batch` engagements;
    with `bulk`, the recommender hears of the rows of items only when `publish` is called, once each, as a worker that
    reads the compacted topic does: for who asks nothing meanwhile."""

    def __init__(self, settings: Settings, encoder: TextEncoder, *, batch: int = 64, bulk: bool = False) -> None:
        self._batch, self._bulk = batch, bulk
        self._unheard: set[str] = set()
        self._rules, self._encoder = history_rules(settings), encoder
        self.users: dict[str, UserRow] = {}
        self._items: dict[str, ItemRow] = {}
        self.recommender = Recommender(
            recommender_rules(settings),
            encode=lambda text: encoder.encode([text])[0],
            serving=ModelBundle(zero_codebook(settings)),
        )
        self.learner = RankerLearner(ranker_rules(settings))
        self._vectors = memory_learners(
            self.recommender.published, vector_rules(settings), embedding_rules(settings), settings.kafka.partitions
        )
        self._place = 0

    def upload(self, uploads: list[Upload]) -> None:
        """Makes items live."""
        if uploads:
            dated = [(upload, int(upload.uploaded_at * 1000)) for upload in uploads]
            codebook = self.recommender.serving.codebook
            for card in cards_of(dated, self._encoder, codebook, uploads[-1].uploaded_at):
                self.recommender.insert(card)

    def absorb(self, event: Engagement, *, frozen: bool = False) -> None:
        """Learns an engagement; while `frozen`, only its user's history does."""
        user = self.users.setdefault(event.user_id, UserRow())
        self._place += 1
        signal = absorb_engagement(user, event, self._place, 0, self._rules)
        trim(user, self._place + 1, self._rules)
        if signal is None or frozen:
            return
        row = self._items.setdefault(event.item_id, ItemRow())
        absorb_signal(row, signal, self.recommender.rules.item)
        self._vectors[partition_of(event.item_id, len(self._vectors))].absorb(signal)
        self._tell(event.item_id)
        if self._place % self._batch == 0:
            self._learn_vectors()

    def publish(self) -> None:
        """The recommender knows everything that has been absorbed, its embeddings fitted to it."""
        self._learn_vectors()
        for item_id in self._unheard:
            self.recommender.update(item_id, self._items[item_id])
        self._unheard.clear()
        self.recommender.spectral.refit()
        self.recommender.published.refit()

    def _learn_vectors(self) -> None:
        """What the owners of items do when they publish."""
        for learner in self._vectors:
            for item_id, learned in learner.learn().items():
                publish_vector(self._items[item_id], *learned)
                self._tell(item_id)

    def _tell(self, item_id: str) -> None:
        if not self._bulk:
            self.recommender.update(item_id, self._items[item_id])
            return
        self._unheard.add(item_id)
        self.recommender.published.place(self.recommender.catalog.handle(item_id), self._items[item_id])

    def teach(self, event: Engagement) -> None:
        """Makes an engagement that has not been absorbed an example for the ranker."""
        ranked = self.recommender.example(self.users.get(event.user_id), event, ordered=False)
        if ranked is not None:
            self.learner.absorb(ranked.example)

    def fit(self) -> None:
        """Fits the ranker to all examples so far, if there are any."""
        if self.learner.examples:
            self.recommender.exchange_ranker(self.learner.refit())

    def rank(self, event: Engagement) -> int:
        """The place (from 0) of an engagement's item among all live items that its user does not have; those that no
        source proposes come after all others, and have no place: -1."""
        ranking = self.recommender.rank(request_of(event), self.users.get(event.user_id))
        handle = self.recommender.catalog.handles.get(event.item_id, -1)
        found = np.flatnonzero(ranking.handles_B == handle)
        return int(found[0]) if len(found) else -1


def measured(ranks: Iterable[int], k: int = 10) -> dict[str, float | int]:
    """Recall and NDCG at k with the half-widths of their 95 % intervals."""
    place_E = np.array(list(ranks))
    hit_E = (place_E >= 0) & (place_E < k)
    gain_E = np.where(hit_E, 1.0 / np.log2(2.0 + np.maximum(place_E, 0)), 0.0)
    count = max(1, len(place_E))
    return {
        "evaluated": len(place_E),
        f"R@{k}": float(hit_E.mean()) if len(place_E) else float("nan"),
        f"R@{k} ±": float(1.96 * hit_E.std() / count**0.5) if len(place_E) else float("nan"),
        f"N@{k}": float(gain_E.mean()) if len(place_E) else float("nan"),
        f"N@{k} ±": float(1.96 * gain_E.std() / count**0.5) if len(place_E) else float("nan"),
        "proposed": float((place_E >= 0).mean()) if len(place_E) else float("nan"),
    }

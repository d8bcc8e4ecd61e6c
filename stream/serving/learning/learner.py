"""The learner: what a worker keeps of all items and users that absorbs events and answers nothing.

It stands where a worker that answers has its `Scorer`: the broadcast feeds it, and the partitions at work ask it.

Invariant: nothing here ranks; see the package for what is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from store.items import ItemCard
from store.keys import RESERVED, partition_of
from store.records.foreign import ForeignRecords, id_in
from store.settings import Settings
from store.topics import CHECKPOINTS, FORGOTTEN_USERS, ITEM_STATES, SEMANTIC_IDS
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.learning.known_items import KnownItems
from stream.serving.learning.outcomes import Outcomes
from stream.serving.learning.serving_codebook import ServingCodebook
from stream.serving.others.announced_owners import AnnouncedOwners
from stream.serving.others.forgotten_users import ForgottenUsers
from stream.serving.reading.published_cards import PublishedCards
from stream.serving.reading.published_records import Owners, PublishedRecords
from trainer.items.vector_learning import Published
from trainer.model_bundle import NO_CHECKPOINT
from trainer.semantic_ids.codebook import Codebook


class Learner:
    """Of one worker."""

    def __init__(self, settings: Settings, *, owners: Owners, foreign: ForeignRecords) -> None:
        serving, partitions = settings.serving, settings.kafka.partitions
        self._partitions = partitions
        self._announced = AnnouncedOwners(partitions, owners)
        self.items = KnownItems(settings, owners, self._announced.on_position, foreign)
        self._codebook = ServingCodebook(settings, lambda: owners.reassign(self.cards))
        read = PublishedRecords(partitions, owners, lambda: [self._codebook.bundle], windows=0)
        self._cards = PublishedCards(self.items, read, owners, self._card_came)
        self.attribution = Attribution(serving.impression_sample, serving.impression_window_s)
        self.frequency = Frequency({task: of_task.most_per_day for task, of_task in serving.tasks.items()})
        self.scoring = Outcomes(self.attribution, settings.events.weights)
        self._forgotten = ForgottenUsers(self.attribution, self.frequency)

    def handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            SEMANTIC_IDS: self.on_card,
            CHECKPOINTS: self.on_checkpoint,
            FORGOTTEN_USERS: self.on_forgotten,
        }

    def batch_handlers(self) -> dict[str, Callable[[Sequence[Any]], None]]:
        return {ITEM_STATES: self.items.on_records}

    def on_card(self, record: Any) -> None:
        """Canaries are observed where something can be recommended."""
        item_id = id_in(record.key)
        if not item_id.startswith(RESERVED):
            self._cards.take(record, item_id)

    def _card_came(self, record: Any, card: ItemCard, _: ItemCard | None) -> None:
        self.items.card_came(record.partition, card.item_id)

    def on_checkpoint(self, record: Any) -> None:
        self._codebook.on_checkpoint(record)

    def on_forgotten(self, record: Any) -> None:
        self._forgotten.on_record(record)

    def forgotten_at_ms(self, user_id: str) -> int:
        """When a user was forgotten last (epoch milliseconds), -1 for never."""
        return self._forgotten.at_ms(user_id)

    # ---- what the worker asks ----

    @property
    def published(self) -> Published:
        """The vectors of all items."""
        return self.items.published

    @property
    def owner_urls(self) -> dict[int, str]:
        """Partition → the address of who has announced itself as its owner."""
        return self._announced.urls

    def owner_of(self, user_id: str) -> str | None:
        """The address of the worker that has this user's partition."""
        return self._announced.of(user_id)

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint whose codebook serves."""
        serving = self._codebook.checkpoint
        return None if serving == NO_CHECKPOINT else serving

    def codebook(self) -> Codebook:
        """The version that fresh uploads are assigned under."""
        return self._codebook.codebook

    def card(self, item_id: str) -> ItemCard | None:
        """The card of a live item."""
        return self.items.card(item_id)

    def cards(self, partition: int) -> list[ItemCard]:
        """Cards of the live items of one partition."""
        ids, cards = self.items.catalog.ids, self.items.catalog.cards
        mine = (place for place, item_id in enumerate(ids) if partition_of(item_id, self._partitions) == partition)
        return [card for handle in mine if (card := cards[handle]) is not None]

    def work(self, caught_up: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the partitions, by name."""
        return {"codebook": self._codebook.run(caught_up), "expectations": self.items.run(caught_up)}

    def close(self) -> None:
        self.items.close()

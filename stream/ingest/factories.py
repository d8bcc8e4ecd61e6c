"""Factories: how a partition that this worker is given comes to be, with its rows, its rules and what serving lends it.

Invariant: a partition opens only what lies in its own folders, so that two of one worker share nothing but the context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from store.embeddings import EmbeddingStore
from store.files.derived_store import set_aside_too
from store.histories import UserRow
from store.items import ItemRow
from store.keys import Owned
from store.rows import RowStore
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, UPLOADS
from stream.ingest.assignment import Factory
from stream.ingest.growth.unknown_items import UnknownItems
from stream.ingest.item_partition import ItemPartition
from stream.ingest.item_side import ItemSide
from stream.ingest.item_vectors import ItemVectors
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.take_downs import TakeDown
from stream.ingest.upload_partition import Cataloguing, UploadPartition
from stream.ingest.user_partition import Scoring, UserPartition
from stream.ingest.user_side import UserSide
from trainer.items.vector_learning import Published
from trainer.rules import embedding_rules, history_rules, item_rules, vector_rules

DAY_S = 86_400.0
NEWEST_ENTRIES = 8
"""Of a user's, so many tell whether the row is worth memory."""

RowsPerS = Callable[[str], float]
"""How many rows a second one partition of an agent may publish now."""

PublishedIn = Callable[[str, int, float], None]
"""Told of each publication of an agent's partition: its rows, and the seconds of the event loop that it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestFactories:
    """Makes the partitions of one worker. `published`: the vectors that every scorer has; `own_url`: where this worker
    answers, once its web server has started."""

    context: PartitionContext
    folder: Path
    cataloguing: Cataloguing
    scoring: Scoring
    published: Published
    rows_per_s: RowsPerS
    own_url: Callable[[], str]
    unknown_items: UnknownItems
    published_in: PublishedIn = lambda *_: None

    def by_agent(self) -> Mapping[str, Factory]:
        """A factory for each agent whose partitions absorb events."""
        return {UPLOADS: self.uploads, ENGAGEMENTS: self.users, ITEM_SIGNALS: self.items}

    def uploads(self, number: int) -> UploadPartition:
        rows = RowStore(self.folder / f"uploads-{number}", TakeDown)
        return UploadPartition(number, self.context, self.cataloguing, rows)

    def users(self, number: int) -> UserPartition:
        settings = self.context.settings
        rows = RowStore(self.folder / f"users-{number}", UserRow, worth_caching=self._user_may_last)
        rules, horizon_s = history_rules(settings), settings.store.user_days * DAY_S
        side = UserSide(number, settings.kafka.partitions, rows, rules, self.context.reader, lambda _: horizon_s)
        partition = UserPartition(side, self.context, self.scoring, partial(self.rows_per_s, ENGAGEMENTS))
        partition.measured = partial(self.published_in, ENGAGEMENTS)
        return partition

    def items(self, number: int) -> ItemPartition:
        settings, unknown = self.context.settings, self.unknown_items
        folder, vectors = self.folder / f"items-{number}", self._vectors(number)
        set_aside_too(folder, vectors.store.rebuilt)  # vectors come back with the rows that they lie in
        rows = RowStore(folder, ItemRow, worth_caching=lambda item_id, _: unknown.may_last(item_id))
        rules, count = item_rules(settings), settings.kafka.partitions
        side = ItemSide(number, rows, rules, vectors, unknown, count, self._item_horizon_s)
        partition = ItemPartition(side, self.context, partial(self.rows_per_s, ITEM_SIGNALS), self.own_url())
        partition.measured = partial(self.published_in, ITEM_SIGNALS)
        return partition

    def _item_horizon_s(self, item_id: str) -> float:
        """How long the row of an item stays that nobody touches; 0: for ever."""
        store = self.context.settings.store
        return DAY_S * self.unknown_items.either(item_id, store.unknown_item_days, store.item_days)

    def _user_may_last(self, _: str, row: UserRow) -> bool:
        """Not who engages with nothing but unknown items: a crawler comes under many names."""
        is_unknown = self.unknown_items.is_unknown
        for entry in row.entries[-NEWEST_ENTRIES:]:  # of every row that is written: a generator costs more
            if not is_unknown(entry.item_id):
                return True
        return not row.entries

    def _vectors(self, number: int) -> ItemVectors:
        settings = self.context.settings
        may_last = self.unknown_items.may_last
        vectors = EmbeddingStore(self.folder / f"vectors-{number}", embedding_rules(settings), may_last)
        vectors.sweep()  # now, while nobody waits: what expires later reads as absent until the next start
        owns = Owned(number, settings.kafka.partitions, lasts=may_last).__getitem__
        return ItemVectors(vectors, owns, self.published, vector_rules(settings))

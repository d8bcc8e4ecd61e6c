"""The upload partition: one partition of `uploads` at work. An upload becomes a card with a semantic ID.

There is no state to keep: the card is a function of the upload and the codebook, so reading an upload again publishes
the same card again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import msgspec

from store.events import Refusal, Upload, decode_uploads, tombstone_id
from store.items import ItemCard
from store.keys import partition_of
from store.topics import SEMANTIC_IDS, UPLOADS
from stream.ingest.partition import Partition
from stream.ingest.partition_context import PartitionContext
from stream.ingest.refusals import send_refusals, send_strays
from stream.kafka.records import Record, Refused, Stray, strays_of
from stream.kafka.state_topics import hole_reader
from trainer.content.encoder import TextEncoder
from trainer.semantic_ids.cards import cards_of, renewed_cards
from trainer.semantic_ids.codebook import Codebook

_json = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cataloguing:
    """How an upload becomes a card. `codebook`: the version that serves now; `known_card`: the card of an item as every
    scorer has it, None before its first; `executor`: the thread that encodes."""

    encoder: TextEncoder
    codebook: Callable[[], Codebook]
    known_card: Callable[[str], ItemCard | None]
    executor: Executor


class UploadPartition(Partition):
    """Turns uploads into cards, tombstones into tombstones."""

    batch = 256
    gather_s = 0.02

    def __init__(
        self,
        number: int,
        context: PartitionContext,
        cataloguing: Cataloguing,
    ) -> None:
        settings = context.settings
        super().__init__(number, 0.02, hole_reader(settings), context.fault)
        self._settings = settings
        self._emitter = context.emitter
        self._metrics = context.metrics
        self._encoder = cataloguing.encoder
        self._codebook = cataloguing.codebook
        self._known = cataloguing.known_card
        self._executor = cataloguing.executor
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._reassigning: asyncio.Task[None] | None = None
        self._limits = settings.event_limits()

    async def restore(self) -> None:
        """Nothing to restore: the group's committed offset says where to begin."""

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        sends: list[asyncio.Future[Any]] = []
        uploads: list[tuple[Upload, int]] = []
        refused: list[Refused] = []
        strays: list[Stray] = []
        for record in records:
            if record.value is None:
                sends += await self._publish_cards(uploads)
                uploads = []
                sends += await self._take_down(record, refused, strays)
            else:
                self._decode(record, uploads, refused, strays)
        sends += await self._publish_cards(uploads)
        sends += await send_refusals(self._emitter, self._metrics, UPLOADS, refused)
        sends += await send_strays(self._emitter, UPLOADS, strays)
        return sends

    def reassign(self, cards: Sequence[ItemCard]) -> None:
        """Publishes these cards again under the codebook that serves now, in the background."""
        if self._reassigning is not None:
            self._reassigning.cancel()
        self._reassigning = asyncio.create_task(self._reassign(cards))

    async def _reassign(self, cards: Sequence[ItemCard]) -> None:
        loop = asyncio.get_running_loop()
        codebook = self._codebook()
        stale = [card for card in cards if card.codebook != codebook.version]
        for start in range(0, len(stale), 500):
            some = stale[start : start + 500]
            renewed = await loop.run_in_executor(self._executor, renewed_cards, some, codebook, time.time())
            # An edit or a tombstone that came meanwhile is newer than the picture that the cards are from.
            rows = [_row_of(card) for card in renewed if self._sent.get(card.item_id, -1) <= card.published_at_ms]
            await self._emitter.send_rows(SEMANTIC_IDS, self.number, rows)

    def publish(self) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(0)

    def close(self) -> None:
        if self._reassigning is not None:
            self._reassigning.cancel()

    def _note_sent(self, item_id: str, at_ms: int) -> None:
        """Remembers what was sent lately, for `reassign`: the broadcast may not have brought it back yet."""
        self._sent[item_id] = at_ms
        self._sent.move_to_end(item_id)
        while len(self._sent) > 20_000:
            self._sent.popitem(last=False)

    def _decode(
        self, record: Record, uploads: list[tuple[Upload, int]], refused: list[Refused], strays: list[Stray]
    ) -> None:
        assert record.value is not None
        decoded = decode_uploads(record.value, now=record.timestamp_ms / 1000, limits=self._limits)
        refused += [Refused(record, refusal) for refusal in decoded.refusals]
        elsewhere: list[tuple[int, str]] = []
        for index, upload in enumerate(decoded.events):
            if self._is_mine(upload.item_id):
                uploads.append((upload, record.timestamp_ms))
            else:
                elsewhere.append((index, upload.item_id))
        strays += strays_of(record, decoded, elsewhere)

    async def _take_down(
        self, record: Record, refused: list[Refused], strays: list[Stray]
    ) -> list[asyncio.Future[Any]]:
        item_id = tombstone_id(record.key)
        if isinstance(item_id, Refusal):
            refused.append(Refused(record, item_id))
            return []
        if not self._is_mine(item_id):
            strays.append(Stray(record.topic, item_id.encode(), None))
            return []
        self._metrics.absorbed(UPLOADS)
        self._note_sent(item_id, record.timestamp_ms)
        return [await self._emitter.send(SEMANTIC_IDS, None, key=record.key, partition=self.number)]

    def _is_mine(self, item_id: str) -> bool:
        return partition_of(item_id, self._settings.kafka.partitions) == self.number

    async def _publish_cards(self, uploads: list[tuple[Upload, int]]) -> list[asyncio.Future[Any]]:
        if not uploads:
            return []
        loop = asyncio.get_running_loop()
        codebook = self._codebook()
        now = time.time()
        cards = await loop.run_in_executor(self._executor, cards_of, uploads, self._encoder, codebook, now)
        repeated = sum(map(self._is_known, cards))
        self._metrics.duplicated(UPLOADS, repeated)
        self._metrics.absorbed(UPLOADS, len(cards) - repeated)
        for card in cards:
            self._note_sent(card.item_id, card.published_at_ms)
        sends = await self._emitter.queue_rows(SEMANTIC_IDS, self.number, map(_row_of, cards))
        published_at = [card.published_at_ms for card in cards]
        sends[-1].add_done_callback(lambda sent: self._assigned(sent, published_at))  # the batches end in order
        return sends

    def _is_known(self, card: ItemCard) -> bool:
        """Whether this very card is live here: its upload was read before."""
        known = self._known(card.item_id)
        return known is not None and msgspec.structs.replace(known, **_when(card)) == card

    def _assigned(self, sent: asyncio.Future[Any], published_at_ms: Sequence[int]) -> None:
        if not sent.cancelled() and sent.exception() is None:
            for at_ms in published_at_ms:
                self._metrics.semantic_id_assigned(_age_s(at_ms))


def _row_of(card: ItemCard) -> tuple[bytes, bytes, tuple[()]]:
    return card.item_id.encode(), _json.encode(card), ()


def _when(card: ItemCard) -> dict[str, float]:
    return {"assigned_at": card.assigned_at, "published_at_ms": card.published_at_ms}


def _age_s(since_ms: int) -> float:
    return max(0.0, time.time() - since_ms / 1000)

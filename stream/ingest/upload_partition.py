"""The upload partition: one partition of `uploads` at work. An upload becomes a card with a semantic ID.

A card is a function of its upload and the codebook, so reading an upload again publishes the same card again. What is
kept is what a card must not bring back: take-downs, and the position, so that a hole in what is delivered is read. Both
are on the disk, and come back to an empty one from `upload-states`.

Cards and take-downs are queued one after the other, each after a look at what is known of its item: so in one owner's
writing nothing older follows something further. Between owners the offsets decide (`store.records.card_order`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from store.events import Refusal, Upload
from store.headers import CAME_AT, CANARY_AT, UPLOAD_OFFSET, numbered
from store.items import ItemCard
from store.keys import RESERVED, partition_of
from store.records.canaries import canary_in
from store.rows import LogIdentity, Position, RowStore
from store.topics import SEMANTIC_IDS, UPLOAD_STATES, UPLOADS
from stream.ingest.protocol.partition import Cursor, Partition
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.protocol.published_rows import BEAT_S, Publication, PublishedRows
from stream.ingest.protocol.refusals import send_refusals, send_strays
from stream.ingest.protocol.republication import Republication
from stream.ingest.take_downs import KnownUploads, TakeDown, TakeDowns
from stream.kafka.emitter_lane import Header
from stream.kafka.log_identity import (
    ReadingStart,
    forget_lost_states,
    has_all_states,
    is_lost,
    look_at,
    start_reading,
)
from stream.kafka.records import Record, Refused, Stray, strays_of
from stream.kafka.state_topics import (
    GENERATION,
    POSITION_KEY,
    Announcement,
    encode_announcement,
    hole_reader,
)
from stream.tracing.stages import NO_STAGES
from trainer.content.encoder import TextEncoder
from trainer.semantic_ids.cards import cards_of, renewed_cards
from trainer.semantic_ids.codebook import Codebook

if TYPE_CHECKING:
    from stream.tracing.spans import Stage

log = logging.getLogger(__name__)

POSITION_EVERY_S = 1.0
"""The position is published so often, at most: an empty disk reads that much again."""

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
    beat_s = BEAT_S

    def __init__(
        self,
        number: int,
        context: PartitionContext,
        cataloguing: Cataloguing,
        rows: RowStore[TakeDown] | None = None,
    ) -> None:
        """`rows`: the disk; without one, what must be kept is kept as long as the partition, and on the log."""
        settings = context.settings
        super().__init__(number, 0.02, hole_reader(settings), context.fault, context.schemas)
        self._settings = settings
        self._emitter = context.emitter
        self._metrics = context.metrics
        self._encoder = cataloguing.encoder
        self._codebook = cataloguing.codebook
        self._known = cataloguing.known_card
        self._executor = cataloguing.executor
        self._no_disk: TemporaryDirectory[str] | None = None
        if rows is None:
            self._no_disk = TemporaryDirectory()
            rows = RowStore(Path(self._no_disk.name) / "rows", TakeDown)
        self._gone = TakeDowns(rows)
        self._generation, self._stages = context.generation, context.stages
        self._published = PublishedRows(settings, context.emitter, UPLOAD_STATES, number, self._gone, context.foreign)
        self.republication: Republication = Republication(rows, f"{UPLOAD_STATES}-{number}")
        self._uploads = KnownUploads(self._gone, cataloguing.known_card)
        self._topic = settings.topic(UPLOADS)
        self._writing = asyncio.Lock()
        self._told_at = -POSITION_EVERY_S
        self._read_before = -1
        self._reassigning: asyncio.Task[None] | None = None
        self._reader = context.reader

    async def restore(self) -> None:
        position = self._gone.position
        states = await look_at(self._settings, (UPLOAD_STATES,), self.number)
        marks_lost = forget_lost_states(position, UPLOAD_STATES, states[UPLOAD_STATES])
        await self._published.restore()
        self._fault("uploads_restored")
        seen = await look_at(
            self._settings, (SEMANTIC_IDS, UPLOADS), self.number
        )  # after the rows: they say how far it was
        cards = position.logs.get(SEMANTIC_IDS)
        known, start_over = position.logs.get(UPLOADS), self._settings.kafka.start_over
        start = start_reading(seen[UPLOADS], known, position.safe, position.absorbed, start_over)
        if cards is not None and is_lost(seen[SEMANTIC_IDS], cards, position.cards_end):
            log.warning("semantic-ids-%s is another topic than before, or was cut: reading all uploads", self.number)
            start, position.cards_end = ReadingStart(seen[UPLOADS].begin, start.identity), 0
        position.logs[UPLOADS] = start.identity
        position.logs[SEMANTIC_IDS] = LogIdentity(seen[SEMANTIC_IDS].topic_id)
        cursor = self.cursors[self._topic] = Cursor.at(start)
        position.safe, self._read_before = cursor.counted_safe, position.absorbed
        if marks_lost:
            await self._publish_all()
            has_all_states(position, UPLOAD_STATES, states[UPLOAD_STATES])
        self.republication.resume()
        await self._publish(dict(self._gone.rows.flush()), position)  # a former owner that still writes learns of this

    async def _publish_all(self) -> None:
        """Publishes every mark: the state topic has lost them. The position beside them vouches for nothing yet."""
        stored, encode = self._gone.rows.scan(), self._gone.rows.encode
        while chunk := {item_id: encode(mark) for item_id, mark in islice(stored, 1000)}:
            await self._publish(chunk, Position())
            self._fault("rows_republished")

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        cursor = self.cursors.setdefault(self._topic, Cursor())
        records = cursor.counted(records)
        sends: list[asyncio.Future[Any]] = []
        uploads: list[tuple[Upload, Record]] = []
        refused: list[Refused] = []
        strays: list[Stray] = []
        for record in records:
            take_down = record if record.value is None else self._decode(record, uploads, refused, strays)
            if take_down is not None:
                sends += await self._publish_cards(uploads)
                uploads = []
                sends += await self._take_down(take_down, refused, strays)
        sends += await self._publish_cards(uploads)
        sends += await send_refusals(self._emitter, self._metrics, UPLOADS, cursor.as_read(refused))
        sends += await send_strays(self._emitter, UPLOADS, strays)
        self._gone.position.absorbed = max(self._gone.position.absorbed, records[-1].offset)
        return sends

    def keep_safe(self) -> None:
        self._gone.position.safe = self.cursors[self._topic].counted_safe
        if not self._gone.rows.staged:  # else the next publication writes it
            self._gone.rows.write({})

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
            async with self._writing:  # what has come meanwhile counts, and what comes from here on waits
                rows = [
                    _row_of(card) for card in renewed if not self._uploads.is_passed(card.item_id, card.upload_offset)
                ]
                sends = await self._emitter.queue_rows(SEMANTIC_IDS, self.number, rows)
            await self._emitter.settle(sends)
            self._fault("cards_reassigned")

    async def contradict(self, item_id: str) -> None:
        """Publishes again what counts of an item, because a former owner has written something older after it:
        compaction would keep that."""
        sends: list[asyncio.Future[Any]] = []
        async with self._writing:
            gone, card = self._gone.get(item_id), self._known(item_id)
            if gone is not None and (card is None or card.upload_offset < gone.offset):
                sends.append(await self._send_take_down(item_id, gone))
            elif card is not None and not self._uploads.is_passed(item_id, card.upload_offset):
                sends += await self._emitter.queue_rows(SEMANTIC_IDS, self.number, [_row_of(card)])
        await self._emitter.settle(sends)

    def publish(self) -> Coroutine[Any, Any, None]:
        now = time.monotonic()
        republished = self.republication.headers()
        if not (self._gone.rows.staged or republished) and now - self._told_at < POSITION_EVERY_S:
            return asyncio.sleep(0)
        self._told_at = now
        marks = dict(self._gone.rows.flush())
        self._fault("uploads_written")
        return self._publish(marks, self.republication.position(), republished)

    async def _publish(
        self, marks: Mapping[str, bytes | None], position: Position, republished: Sequence[Header] = ()
    ) -> None:
        generation = self._generation()
        headers: list[Header] = [(GENERATION, str(generation).encode())]
        rows: list[Publication] = [(item_id.encode(), value, headers) for item_id, value in marks.items()]
        announcement = Announcement(position, partition=self.number)
        rows.append((POSITION_KEY, encode_announcement(announcement), [*headers, *republished]))
        if await self._published.publish(rows, generation):
            self._unpublished = True
        self.republication.landed(republished)

    def close(self) -> None:
        if self._reassigning is not None:
            self._reassigning.cancel()
        self._gone.rows.close()
        if self._no_disk is not None:
            self._no_disk.cleanup()

    def _is_behind(self, item_id: str, record: Record) -> bool:
        return self._uploads.is_passed(item_id, record.offset) or self._uploads.is_outlived(item_id, record.came_at_ms)

    def _decode(
        self, record: Record, uploads: list[tuple[Upload, Record]], refused: list[Refused], strays: list[Stray]
    ) -> Record | None:
        """Adds what a record holds to these; returns the take-down that it stands for, as a deleted row does."""
        assert record.value is not None
        if canary := canary_in(record.value, Upload, self.number, self._settings.kafka.partitions):
            uploads.append((canary, record))
            return None
        decoded = self._reader.uploads(record.value, now=record.timestamp_ms / 1000)
        if decoded.removed is not None:
            return record._replace(key=decoded.removed.encode(), value=None)
        refused += [Refused(record, refusal) for refusal in decoded.refusals]
        self._metrics.dropped(UPLOADS, decoded.dropped)
        elsewhere: list[tuple[int, str]] = []
        mine: dict[str, Upload] = {}
        for index, upload in enumerate(decoded.events):
            if not self._is_mine(upload.item_id):
                elsewhere.append((index, upload.item_id))
            elif self._is_behind(upload.item_id, record):
                self._metrics.duplicated(UPLOADS)
            else:
                mine[upload.item_id] = upload  # of two in one frame the later one
                self._uploads.read_upload(upload.item_id, record.offset, record.first_ms)
        uploads += [(upload, record) for upload in mine.values()]
        strays += strays_of(record, decoded, elsewhere)
        return None

    async def _take_down(
        self, record: Record, refused: list[Refused], strays: list[Stray]
    ) -> list[asyncio.Future[Any]]:
        item_id = self._reader.removed_by_key(UPLOADS, record.key)
        if isinstance(item_id, Refusal):
            refused.append(Refused(record, item_id))
            return []
        if not self._is_mine(item_id):
            strays.append(Stray(record.topic, item_id.encode(), None, record.first_ms))
            return []
        if self._uploads.is_outlived(item_id, record.came_at_ms):
            self._metrics.duplicated(UPLOADS)
            return []
        self._metrics.absorbed(UPLOADS)
        found = TakeDown(record.offset, record.first_ms)
        async with self._writing:
            self._uploads.read_take_down(item_id, found)
            return [await self._send_take_down(item_id, found)]

    async def _send_take_down(self, item_id: str, found: TakeDown) -> asyncio.Future[Any]:
        headers = numbered(**{UPLOAD_OFFSET: found.offset, CAME_AT: found.came_at_ms})
        return await self._emitter.send(
            SEMANTIC_IDS, None, key=item_id.encode(), partition=self.number, headers=headers
        )

    def _is_mine(self, item_id: str) -> bool:
        return partition_of(item_id, self._settings.kafka.partitions) == self.number

    async def _publish_cards(self, uploads: list[tuple[Upload, Record]]) -> list[asyncio.Future[Any]]:
        if not uploads:
            return []
        traced = self._stages.assigning(uploads)
        cards = await self._encode(uploads)
        items = [card for card in cards if not card.item_id.startswith(RESERVED)]
        fresh = [card for card in items if not self._is_known(card)]
        self._metrics.duplicated(UPLOADS, len(items) - len(fresh))
        self._metrics.absorbed(UPLOADS, len(fresh))
        async with self._writing:
            rows = [_row_of(card, traced) for card in cards]
            sends = await self._emitter.queue_rows(SEMANTIC_IDS, self.number, rows)
        self._fault("cards_sent")
        published_at = [card.published_at_ms for card in fresh if card.upload_offset > self._read_before]
        canary_at_ms = max((card.published_at_ms for card in cards if card.item_id.startswith(RESERVED)), default=-1)
        # The batches end in order.
        sends[-1].add_done_callback(lambda sent: self._assigned(sent, published_at, canary_at_ms, traced))
        return sends

    async def _encode(self, uploads: list[tuple[Upload, Record]]) -> list[ItemCard]:
        loop = asyncio.get_running_loop()
        dated = [(upload, record.first_ms) for upload, record in uploads]
        cards = await loop.run_in_executor(
            self._executor, cards_of, dated, self._encoder, self._codebook(), time.time()
        )
        replace = msgspec.structs.replace
        return [replace(card, upload_offset=record.offset) for card, (_, record) in zip(cards, uploads, strict=True)]

    def _is_known(self, card: ItemCard) -> bool:
        """Whether this very card is live here: its upload was read before."""
        known = self._known(card.item_id)
        when = {name: getattr(card, name) for name in ("assigned_at", "published_at_ms", "upload_offset")}
        return known is not None and msgspec.structs.replace(known, **when) == card

    def _assigned(
        self, sent: asyncio.Future[Any], published_at_ms: Sequence[int], canary_at_ms: int, traced: Mapping[str, Stage]
    ) -> None:
        if not sent.cancelled() and sent.exception() is None:
            self._gone.position.cards_end = max(self._gone.position.cards_end, sent.result().offset + 1)
            for at_ms in published_at_ms:
                self._metrics.semantic_id_assigned(max(0.0, time.time() - at_ms / 1000))
            for stage in traced.values():
                stage.end()
            self._metrics.canaries.came("upload_to_semantic_id", self.number, canary_at_ms)


def _row_of(card: ItemCard, traced: Mapping[str, Stage] = NO_STAGES) -> Publication:
    """The card, or of a canary, which is no item, that it has come so far."""
    if card.item_id.startswith(RESERVED):
        return card.item_id.encode(), None, numbered(**{CANARY_AT: card.published_at_ms})
    headers = traced[card.item_id].headers if card.item_id in traced else ()
    return card.item_id.encode(), _json.encode(card), headers

"""Exported rows: what the log holds of engagements, items and users, as far as its workers have published it.

Items are the cards of `semantic-ids` with what `item-states` says of them, users the rows of `user-states`: no worker
needs to run. One partition is held at a time, of each item or user a summary.

Invariant: what was taken down, or forgotten, is not among them, also where no worker has yet acted on the request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from store.envelopes.newest_events import forgotten
from store.envelopes.reading import EventReader, event_reader
from store.events import KINDS, Engagement
from store.histories import Entry, UserRow
from store.items import ItemCard, ItemRow, row_in
from store.log import Forgotten, Log, LogRecord, cards, engagements, forgotten_in
from store.records.foreign import ForeignRecordError, held_in, id_in
from store.rows import POSITION_KEY
from store.settings import Settings
from store.topics import (
    ENGAGEMENTS,
    FORGOTTEN_USERS,
    ITEM_STATES,
    PROFILES,
    SEMANTIC_IDS,
    UPLOADS,
    USER_STATES,
)
from stream.cli.data.table_files import Columns
from stream.kafka.state_topics import ended_before_s, generation_of

LAST_ACTS = 10

INTERACTIONS: Columns = {
    **dict.fromkeys(Engagement.__struct_fields__, "text"),
    "occurred_at": "number",
    "value": "number",
    "published_at": "number",
    "partition": "whole",
    "offset": "whole",
}
ITEMS: Columns = {
    **dict.fromkeys(("item_id", "title", "category", "creator_id", "language"), "text"),
    "tags": "texts",
    "uploaded_at": "number",
    "published_at": "number",
    "codebook": "text",
    "semantic_id": "wholes",
    **dict.fromkeys(KINDS, "whole"),
    "positives": "whole",
    "negatives": "whole",
    "first_engaged_at": "number",
    "last_engaged_at": "number",
}
VECTOR: Columns = {"vector": "numbers"}
USERS: Columns = {
    "user_id": "text",
    "attributes": "json",
    "profiled_at": "number",
    **dict.fromkeys(("kept_engagements", "items_had", "items_turned_away"), "whole"),
    "last_engaged_at": "number",
    "last_acts": "json",
}

Row = dict[str, Any]


def interactions(settings: Settings) -> Iterator[Row]:
    """The accepted engagements, each with its place in the log."""
    reader = event_reader(settings)
    with Log(settings.kafka) as log:
        pending, ledger = _forgotten(log, settings, reader)
        known = {user_id: one.forgotten_at_ms for user_id, one in ledger.items()}
        forget = {user_id: max(pending.get(user_id, -1), known.get(user_id, -1)) for user_id in pending | known}
        records = log.read_all(settings.topic(ENGAGEMENTS))
        for each in engagements(records, now=time.time(), reader=reader, forget=forget):
            row = {name: getattr(each.event, name) for name in Engagement.__struct_fields__}
            row |= {"published_at": each.timestamp_ms / 1000, "partition": each.partition, "offset": each.offset}
            yield row


def items(settings: Settings, vectors: bool = False) -> Iterator[Row]:
    """The live items; `vectors`: with what was learned of each, unit vectors."""
    reader = event_reader(settings)
    with Log(settings.kafka) as log:
        down = _taken_down(log, settings, reader)
        for partition in log.partitions(settings.topic(SEMANTIC_IDS)):
            live = cards(
                _partition(log, settings, SEMANTIC_IDS, partition), partial(log.foreign.met, SEMANTIC_IDS), _bare
            )
            learned = _states(log, settings, ITEM_STATES, partition, lambda _, value: _item_in(value, vectors))
            for item_id, card in live.items():
                if card.published_at_ms > down.get(item_id, -1):
                    yield _item_row(card, learned.get(item_id, NOTHING), vectors)


def users(settings: Settings) -> Iterator[Row]:
    """Everybody of whom there is a row."""
    with Log(settings.kafka) as log:
        pending, ledger = _forgotten(log, settings, event_reader(settings))
        for partition in log.partitions(settings.topic(USER_STATES)):
            for user_id, user in _states(log, settings, USER_STATES, partition, _user_in).items():
                known = ledger.get(user_id)
                acted_on_ms, life = (-1, -1) if known is None else (known.forgotten_at_ms, known.offset)
                if user.life >= life and pending.get(user_id, -1) <= acted_on_ms:
                    yield {"user_id": user_id, **user.columns()}


def _forgotten(log: Log, settings: Settings, reader: EventReader) -> tuple[dict[str, int], dict[str, Forgotten]]:
    """When users were asked to be forgotten (epoch milliseconds), and what workers have noted of that."""
    asked = forgotten(log.read_all(settings.topic(PROFILES)), reader)
    return asked, forgotten_in(log.read_all(settings.topic(FORGOTTEN_USERS)))


def _taken_down(log: Log, settings: Settings, reader: EventReader) -> dict[str, int]:
    """item_id → when it was taken down last (epoch milliseconds), whether or not a worker has seen that."""
    found: dict[str, int] = {}
    for record in log.read_all(settings.topic(UPLOADS)):
        if isinstance(item_id := reader.removed(UPLOADS, record.key, record.value), str):
            found[item_id] = max(record.came_at_ms, found.get(item_id, -1))
    return found


def _partition(log: Log, settings: Settings, name: str, partition: int) -> Iterator[LogRecord]:
    topic = settings.topic(name)
    return log.read(topic, {}, {partition: log.ends(topic)[partition]})


class _State(Protocol):
    """What is kept of a row. `joined`: with what an earlier record of its key said."""

    @property
    def touched_s(self) -> int: ...

    def joined(self, known: Any) -> Any: ...


State = TypeVar("State", bound=_State)


def _states(
    log: Log, settings: Settings, name: str, partition: int, read: Callable[[str, bytes], State]
) -> dict[str, State]:
    """What counts of each key of one partition of a state topic: what is further in the log, whoever wrote it last."""
    found: dict[str, State] = {}
    ended: dict[str, int] = {}
    for record in _partition(log, settings, name, partition):
        if record.key == POSITION_KEY:
            continue
        try:
            generation_of(record)
            key = id_in(record.key)
            state = None if record.value is None else read(key, record.value)
        except ForeignRecordError as error:
            log.foreign.met(name, record, error)
            continue
        if state is None:
            found.pop(key, None)
            ended[key] = ended_before_s(record)
        elif state.touched_s >= ended.get(key, -1):  # else written late, after the end of the row
            found[key] = state.joined(found[key]) if key in found else state
    return found


def _bare(card: ItemCard) -> ItemCard:
    """Without its vectors, which take ten times the memory."""
    return msgspec.structs.replace(card, content={})


class _Item(NamedTuple):
    offset: int
    touched_s: int
    counters: dict[int, int]
    positives: int
    negatives: int
    first_at: float | None
    last_at: float | None
    vector: list[float] | None

    def joined(self, known: _Item) -> _Item:
        return self if self.offset >= known.offset else known


NOTHING = _Item(-1, 0, {}, 0, 0, None, None, None)
"""Of an item that nobody has touched."""


def _item_in(value: bytes, vectors: bool) -> _Item:
    row: ItemRow = row_in(value)
    vector = row.vector_D().astype(float).tolist() if vectors and row.vector else None
    counts = (row.counters, row.positives, row.negatives, row.first_at or None, row.last_at or None)
    return _Item(row.offset, row.touched_s, *counts, vector)


def _item_row(card: ItemCard, item: _Item, vectors: bool) -> Row:
    row = {name: getattr(card, name) for name in ("item_id", "title", "category", "creator_id", "language", "tags")}
    row |= {"uploaded_at": card.uploaded_at, "published_at": card.published_at_ms / 1000, "codebook": card.codebook}
    row |= {"semantic_id": [*card.codes, card.suffix]}
    row |= {kind: item.counters.get(code, 0) for code, kind in enumerate(KINDS)}
    row |= {"positives": item.positives, "negatives": item.negatives}
    row |= {"first_engaged_at": item.first_at, "last_engaged_at": item.last_at}
    return {**row, "vector": item.vector} if vectors else row


class _User(NamedTuple):
    offset: int
    touched_s: int
    life: int
    attributes: dict[str, Any]
    profiled_at: float
    kept: int
    had: int
    turned_away: int
    newest: list[Entry]

    def joined(self, known: _User) -> _User:
        if self.life != known.life:
            return self if self.life > known.life else known
        further, other = (self, known) if self.offset >= known.offset else (known, self)
        if other.profiled_at > further.profiled_at:
            return further._replace(attributes=other.attributes, profiled_at=other.profiled_at)
        return further

    def columns(self) -> Row:
        acts = [
            {"item_id": each.item_id, "kind": KINDS[each.kind], "occurred_at": each.occurred_at, "value": each.value}
            for each in reversed(self.newest)
        ]
        return {
            "attributes": self.attributes,
            "profiled_at": self.profiled_at or None,
            "kept_engagements": self.kept,
            "items_had": self.had,
            "items_turned_away": self.turned_away,
            "last_engaged_at": max((each.occurred_at for each in self.newest), default=None),
            "last_acts": acts,
        }


_rows = msgspec.msgpack.Decoder(UserRow)


def _user_in(_: str, value: bytes) -> _User:
    row = held_in(value, _rows.decode, "user's row")
    counts = (len(row.entries) + len(row.kept), len(row.seen) // 8, len(row.refused) // 8)
    return _User(
        row.offset, row.touched_s, row.life, row.attributes, row.profiled_at, *counts, row.entries[-LAST_ACTS:]
    )

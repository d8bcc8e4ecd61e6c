"""The window: what a training run reads of the log, once, between offsets that are fixed before it reads.

New engagements are those from the parent's offsets to the end. Some of what lies before is read back too: histories
need what came before them, and a share of it is learned again, so that the model does not forget.

Invariant: a window is a function of the log, the settings, `since` and `until`; an engagement whose user was forgotten
after it is not in it, nor is one with an item that was taken down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from store.envelopes.newest_events import forgotten, profiles
from store.envelopes.reading import event_reader
from store.items import ItemCard, row_in
from store.log import (
    Log,
    LoggedEngagement,
    LogRecord,
    Offsets,
    Progress,
    cards,
    engagements,
    forgotten_in,
    newest_first_chunks,
)
from store.records.foreign import ForeignRecordError
from store.rows import POSITION_KEY
from store.settings import Settings
from store.topics import ENGAGEMENTS, FORGOTTEN_USERS, ITEM_STATES, PROFILES, SEMANTIC_IDS

_logger = logging.getLogger(__name__)

_CHUNK_RECORDS = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """What a run learns from. `begin` and `end` are offsets of `engagements`; `begin` is where the new ones start.
    `topic_id`: of the topic that they count in, if the broker gives one. `vectors`: what items' owners have published
    by the end (float16): the next run reads them."""

    items: Mapping[str, ItemCard]
    attributes: Mapping[str, Mapping[str, str | float]]
    engagements: list[LoggedEngagement]
    begin: Offsets
    end: Offsets
    topic_id: str = ""
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def new(self) -> int:
        """How many of the engagements came since the parent."""
        return sum(e.offset >= self.begin.get(e.partition, 0) for e in self.engagements)


def still_known(log: Log, topic: str, since: Offsets, topic_id: str = "") -> Offsets:
    """`since`, or nothing where the log is not the one that these offsets were read in: it ends before one of them (it
    was cut, or restored from a copy), or, with `topic_id`, it was created anew. Then all that it holds is new."""
    if not since:
        return since
    ends = log.ends(topic)
    another = topic_id and log.topic_id(topic) not in ("", topic_id)
    if another or any(at > ends.get(partition, 0) for partition, at in since.items()):
        _logger.warning("%s was created anew, cut or restored since it was learned from: all of it is new", topic)
        return {}
    return since


def read_window(
    log: Log,
    settings: Settings,
    since: Mapping[int, int],
    now: float,
    progress: Progress | None = None,
    until: Mapping[int, int] | None = None,
) -> Window:
    """Reads the window. `since`: the parent's offsets, empty for a first run; `now` is wall time in epoch seconds.
    `until`: where it ends, if not at the end of the log: the partitions that it names, up to their offset."""
    reader = event_reader(settings)
    met = log.foreign.met
    listed = _with_progress(log.read_all(settings.topic(SEMANTIC_IDS)), progress)
    items = cards(listed, partial(met, SEMANTIC_IDS))
    profile_records = list(_with_progress(log.read_all(settings.topic(PROFILES)), progress))
    ledger = forgotten_in(log.read_all(settings.topic(FORGOTTEN_USERS)), partial(met, FORGOTTEN_USERS))
    forget = {user_id: one.forgotten_at_ms for user_id, one in ledger.items()}
    known = profiles(profile_records, now=now, reader=reader, forget=forget)
    for user_id, at_ms in forgotten(profile_records, reader).items():  # which may not have been worked on yet
        forget[user_id] = max(at_ms, forget.get(user_id, -1))

    topic = settings.topic(ENGAGEMENTS)
    first, begin, end = range_since(log, topic, since, until)

    def decoded(lower: Offsets, upper: Offsets) -> list[LoggedEngagement]:
        records = log.read(topic, lower, upper, progress)
        return list(engagements(records, now=now, reader=reader, forget=forget))

    training = settings.training
    new = _newest(decoded, begin, end, training.max_engagements)
    older = _newest(decoded, first, begin, max(training.lookback_engagements, round(training.replay_ratio * len(new))))
    attributes = {user_id: profile.attributes for user_id, profile in known.items()}
    return Window(
        items, attributes, [*older, *new], begin, end, log.topic_id(topic), _vectors(log, settings, items, progress)
    )


def _vectors(
    log: Log, settings: Settings, items: Mapping[str, ItemCard], progress: Progress | None
) -> dict[str, np.ndarray]:
    """The published vectors of live items."""
    found: dict[str, np.ndarray] = {}
    for record in _with_progress(log.read_all(settings.topic(ITEM_STATES)), progress):
        if record.value is None or record.key == POSITION_KEY:
            continue
        item_id = (record.key or b"").decode(errors="replace")
        try:
            row = row_in(record.value)
        except ForeignRecordError as error:
            log.foreign.met(ITEM_STATES, record, error)
            continue
        if item_id in items and len(vector_V := row.vector_D()) == settings.vectors.width:
            found[item_id] = vector_V
    return found


def _newest(
    decoded: Callable[[Offsets, Offsets], list[LoggedEngagement]], begin: Offsets, end: Offsets, wanted: int
) -> list[LoggedEngagement]:
    """At least `wanted` of the newest engagements of the range if it has as many; whole chunks, oldest first."""
    chunks: list[list[LoggedEngagement]] = []
    found = 0
    for lower, upper in newest_first_chunks(begin, end, _CHUNK_RECORDS):
        if found >= wanted:
            break
        chunks.append(decoded(lower, upper))
        found += len(chunks[-1])
    return [event for chunk in reversed(chunks) for event in chunk]


def _with_progress(records: Iterator[LogRecord], progress: Progress | None) -> Iterator[LogRecord]:
    """Calls `progress` now and then while a compact topic is read."""
    for place, record in enumerate(records):
        if progress is not None and place % 2000 == 0:
            progress(place, 0)
        yield record


def range_since(
    log: Log, topic: str, since: Mapping[int, int], until: Mapping[int, int] | None = None
) -> tuple[Offsets, Offsets, Offsets]:
    """Where a topic begins, where what is new begins, as far as it is still there, and where it ends: at the end of the
    topic, or at `until` in the partitions that it names."""
    first, end = log.begins(topic), log.ends(topic)
    end = end if until is None else {p: min(until[p], at) for p, at in end.items() if p in until}
    return first, {p: min(max(since.get(p, 0), first[p]), end[p]) for p in end}, end

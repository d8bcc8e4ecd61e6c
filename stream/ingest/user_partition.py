"""The user partition: one partition of `engagements` and `profiles` at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from store.events import Engagement
from store.headers import numbered
from store.histories import UserRow
from store.log import forgotten_in
from store.rows import Position
from store.topics import ENGAGEMENTS, FORGOTTEN_USERS, ITEM_SIGNALS, PROFILES, RANKING_EXAMPLES, USER_STATES
from stream.ingest.protocol.partition import Cursor, Partition
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.protocol.published_rows import BEAT_S, PublishedRows
from stream.ingest.protocol.refusals import send_refusals, send_strays
from stream.ingest.protocol.republication import Republication
from stream.ingest.user_side import UserSide
from stream.kafka.emitter_lane import Header
from stream.kafka.log_identity import PartitionLog, forget_lost_states, has_all_states, look_at, start_reading
from stream.kafka.records import Effects, ReadEngagement, Record
from stream.kafka.state_topics import (
    EXPIRED,
    GENERATION,
    POSITION_KEY,
    Announcement,
    encode_announcement,
    hole_reader,
    read_partition,
)

if TYPE_CHECKING:
    from stream.tracing.spans import Stage

log = logging.getLogger(__name__)

NONE: Mapping[str, int] = MappingProxyType({})


class Scoring(Protocol):
    """What learns to rank from engagements, as serving offers it; both return a record for `ranking-examples`."""

    def outcome(self, event: Engagement) -> bytes | None:
        """What the engagement says of a line that was shown, if it is of one. Called whenever its record is read."""

    def examine(self, event: Engagement, row_before: Callable[[], UserRow], /) -> bytes | None:
        """Scores an engagement with its user's row as it was before; None if it is not sampled. Called once."""


class UserPartition(Partition):
    """Absorbs engagements into histories, has them scored, tells the items, publishes the users' rows."""

    beat_s = BEAT_S
    longest_pause_s = 10.0
    most_rows = 5000

    def __init__(
        self,
        side: UserSide,
        context: PartitionContext,
        scoring: Scoring,
        rows_per_s: Callable[[], float],
    ) -> None:
        settings = context.settings
        interval_s, read_hole = settings.store.user_publish_interval_s, hole_reader(settings)
        super().__init__(side.partition, interval_s, read_hole, context.fault, context.schemas)
        self.side = side
        self._settings = settings
        self._emitter = context.emitter
        self._metrics = context.metrics
        self._foreign = context.foreign
        self._scoring = scoring
        self._generation = context.generation
        self._stages = context.stages
        self._rows_per_s = rows_per_s
        self._engagements = settings.topic(ENGAGEMENTS)
        self._profiles = settings.topic(PROFILES)
        self._published = PublishedRows(settings, context.emitter, USER_STATES, side.partition, side, context.foreign)
        self.republication: Republication = Republication(side.rows, f"{USER_STATES}-{side.partition}")

    async def restore(self) -> None:
        rows = self.side.rows
        states = await look_at(self._settings, (USER_STATES,), self.number)
        lost = forget_lost_states(rows.position, USER_STATES, states[USER_STATES])
        topic = self._settings.topic(FORGOTTEN_USERS)
        ledger = [record async for record in read_partition(self._settings, topic, self.number, 0)]
        self.side.remember(forgotten_in(ledger, partial(self._foreign.met, FORGOTTEN_USERS)))
        self.side.write_restored()
        await self._published.restore()
        self._fault("restored")
        seen = await look_at(
            self._settings, (ENGAGEMENTS, PROFILES), self.number
        )  # after the rows: they say how far it was
        position = rows.position
        engagements = self._start(ENGAGEMENTS, seen, position.safe, max(position.absorbed, self.side.reached))
        profiles = self._start(PROFILES, seen, position.profiles_safe, position.profiles)
        position.safe, position.profiles_safe = engagements.counted_safe, profiles.counted_safe
        if lost:
            await self._publish_all()
            has_all_states(position, USER_STATES, states[USER_STATES])
        self.republication.resume()
        await self.publish()  # at once: a former owner that still writes learns that there is a new one

    def _start(self, name: str, seen: Mapping[str, PartitionLog], safe: int, reached: int) -> Cursor:
        """The cursor of one input topic, behind what is safe."""
        logs, start_over = self.side.rows.position.logs, self._settings.kafka.start_over
        start = start_reading(seen[name], logs.get(name), safe, reached, start_over)
        logs[name] = start.identity
        cursor = self.cursors[self._settings.topic(name)] = Cursor.at(start)
        return cursor

    async def _publish_all(self) -> None:
        """Publishes every row: the state topic has lost them. The position beside them vouches for nothing yet."""
        rows = self.side.rows
        log.warning("user-states-%s is another topic than before, or was cut: publishing every row again", self.number)
        stored = rows.scan()
        while chunk := {user_id: rows.encode(row) for user_id, row in islice(stored, 1000)}:
            await self._publish(chunk, encode_announcement(Announcement(Position(), partition=self.number)))
            self._fault("rows_republished")

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        cursor = self.cursors.setdefault(records[0].topic, Cursor())
        records = cursor.counted(records)
        if records[0].topic == self._engagements:
            traced = self._stages.taken(ENGAGEMENTS, records)
            name, effects = ENGAGEMENTS, self.side.absorb(records, traced)
        else:
            traced = self._stages.taken(PROFILES, records)
            name, effects = PROFILES, self.side.absorb_profiles(records)
        for stage in traced.values():
            stage.end()
        self._metrics.absorbed(name, effects.absorbed)
        self._metrics.duplicated(name, effects.duplicates)
        self._metrics.dropped(name, effects.dropped)
        self._metrics.canaries.came("engagement_to_history", self.number, effects.canary_at_ms)
        effects.refused = cursor.as_read(effects.refused)
        return await self._send(name, effects, traced)

    def note_answer(self, user_id: str, task: str, at_s: float, most: int) -> None:
        """The user got an answer of a task of which `most` are allowed a day: the row says so, and is
        published soon."""
        self.side.note_answer(user_id, task, at_s, most)
        self._unpublished = True

    def keep_safe(self) -> None:
        position = self.side.rows.position
        position.safe = self.cursors[self._engagements].counted_safe
        position.profiles_safe = self.cursors[self._profiles].counted_safe
        if not self.side.rows.staged:  # else the next publication writes it
            self.side.rows.write({})
        self._fault("kept")

    async def _send(self, name: str, effects: Effects, traced: Mapping[int, Stage]) -> list[asyncio.Future[Any]]:
        send = self._emitter.send
        sends = []
        for place, (partition, key, frame) in enumerate(effects.signals):
            headers = traced[effects.traced[place]].headers if place in effects.traced else ()
            sends.append(await send(ITEM_SIGNALS, frame, key=key, partition=partition, headers=headers))
        sends += [await send(RANKING_EXAMPLES, value, key=user.encode()) for user, value in self._score(effects.read)]
        sends += await send_refusals(self._emitter, self._metrics, name, effects.refused)
        sends += await send_strays(self._emitter, name, effects.strays)
        sends += [
            await send(FORGOTTEN_USERS, one.encode(), key=one.key(), partition=self.number) for one in effects.forgotten
        ]
        return sends

    def _score(self, read: Iterable[ReadEngagement]) -> list[tuple[str, bytes]]:
        """By user, in the order of the log. An outcome is told again when its record is read again, for a crash may
        have swallowed it; an engagement is scored once."""
        examples: list[tuple[str, bytes]] = []
        for engagement in read:
            event = engagement.event
            if (outcome := self._scoring.outcome(event)) is not None:
                examples.append((event.user_id, outcome))
            if not engagement.is_new:
                continue
            if (example := self._scoring.examine(event, engagement.row_before)) is not None:
                examples.append((event.user_id, example))
        return examples

    def gathered_rows(self) -> int:
        return self.side.rows.staged

    def rows_per_s(self) -> float:
        return self._rows_per_s()

    def publish(self) -> Coroutine[Any, Any, None]:
        ends = self._published.ends()
        dirty = self.side.flush()
        self._fault("written")
        return self._publish(dirty, self._announcement(), self.republication.headers(), ends)

    def _announcement(self) -> bytes:
        return encode_announcement(Announcement(self.republication.position(), partition=self.number))

    async def _publish(
        self,
        dirty: Mapping[str, bytes | None],
        position: bytes,
        republished: Sequence[Header] = (),
        ends: Mapping[str, int] = NONE,
    ) -> None:
        generation = self._generation()
        headers: list[Header] = [(GENERATION, str(generation).encode())]
        rows = [(user_id.encode(), value, headers) for user_id, value in dirty.items()]
        rows += [(key.encode(), None, [*headers, *numbered(**{EXPIRED: before})]) for key, before in ends.items()]
        rows.append((POSITION_KEY, position, [*headers, *republished]))  # last: it vouches for the rows
        if await self._published.publish(rows, generation):
            self._unpublished = True
        self.republication.landed(republished)
        self._metrics.expired("users", len(self.side.expiry.landed(ends)))

    def close(self) -> None:
        self.side.rows.close()

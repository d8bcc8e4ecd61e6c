"""The user partition: one partition of `engagements` and `profiles` at work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import groupby
from typing import Any

from store.settings import Settings
from stream.emitter import Emitter
from stream.metrics import Metrics
from stream.partition import Fault, Partition, no_fault
from stream.records import Effects, Record
from stream.refusals import send_refusals, send_strays
from stream.states import (
    GENERATION,
    POSITION_KEY,
    Announcement,
    decode_announcement,
    encode_announcement,
    read_partition,
)
from stream.user_side import UserSide


class UserPartition(Partition):
    """Absorbs engagements into histories, tells the items, publishes the users' rows."""

    def __init__(
        self,
        side: UserSide,
        settings: Settings,
        emitter: Emitter,
        metrics: Metrics,
        generation: Callable[[], int],
        fault: Fault = no_fault,
    ) -> None:
        super().__init__(side.partition, settings.store.user_publish_interval_s, fault)
        self.side = side
        self._settings = settings
        self._emitter = emitter
        self._metrics = metrics
        self._generation = generation
        self._engagements = settings.topic("engagements")

    async def restore(self) -> None:
        rows = self.side.rows
        merged: dict[str, Any] = {}
        async for offset, key, value in read_partition(
            self._settings, "user-states", self.number, rows.position.state_offset
        ):
            rows.position.state_offset = offset + 1
            if key is None or value == b"":
                continue
            if key == POSITION_KEY:
                if value is not None:
                    met = decode_announcement(value).position
                    rows.position.profiles = max(rows.position.profiles, met.profiles)
                continue
            user_id = key.decode()
            if value is None:
                rows.write(merged, gone=[user_id])
                merged = {}
                continue
            row = self.side.merge(user_id, value)
            if row is not None:
                merged[user_id] = row
                if len(merged) >= 1000:
                    rows.write(merged)
                    merged = {}
                    await asyncio.sleep(0)
        rows.write(merged)

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        sends: list[asyncio.Future[Any]] = []
        for topic, run in groupby(records, key=lambda record: record.topic):
            if topic == self._engagements:
                effects = self.side.absorb(run, self.committed(topic))
                name = "engagements"
            else:
                effects = self.side.absorb_profiles(run)
                name = "profiles"
            self._fault("written")
            self._metrics.absorbed(name, effects.absorbed)
            self._metrics.duplicated(name, effects.duplicates)
            sends += await self._send(name, effects)
        return sends

    async def _send(self, name: str, effects: Effects) -> list[asyncio.Future[Any]]:
        send = self._emitter.send
        sends = [
            await send("item-signals", frame, key=key, partition=partition) for partition, key, frame in effects.signals
        ]
        sends += [await send("ranking-examples", value, key=user.encode()) for user, value in effects.examples]
        sends += await send_refusals(self._emitter, self._metrics, name, effects.refused)
        sends += await send_strays(self._emitter, name, effects.strays)
        return sends

    def publish(self) -> Awaitable[None]:
        dirty, self.side.dirty = self.side.dirty, {}
        position = encode_announcement(Announcement(self.side.rows.position))
        return self._publish(dirty, position)

    async def _publish(self, dirty: Mapping[str, bytes | None], position: bytes) -> None:
        headers = [(GENERATION, str(self._generation()).encode())]
        rows = [(user_id.encode(), value, headers) for user_id, value in dirty.items()]
        await self._emitter.send_rows("user-states", self.number, rows)
        end = await self._emitter.send_rows("user-states", self.number, [(POSITION_KEY, position, headers)])
        self.side.rows.position.state_offset = max(self.side.rows.position.state_offset, end)

    def close(self) -> None:
        self.side.rows.close()
